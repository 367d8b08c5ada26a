package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// parseRate reads how much per second, minute or hour, like 100/s.
func parseRate(text string) (rate.Limit, error) {
	number, unit, ok := strings.Cut(text, "/")
	if !ok {
		unit = "s"
	}
	per, known := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !known || !(n > 0) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%q is no rate: use a number per second, minute or hour, like 100/s or 30/m", text)
	}
	limit := rate.Limit(n / per.Seconds())
	if limit < minRate || limit > maxRate {
		return 0, fmt.Errorf("%q is out of bounds: from 1/h to 1000000/s", text)
	}
	return limit, nil
}

const (
	minRate = rate.Limit(1.0 / 3600)
	maxRate = rate.Limit(1e6)
)
