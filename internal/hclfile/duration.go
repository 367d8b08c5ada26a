package hclfile

import (
	"errors"
	"time"
)

// ParseDuration reads a duration as the user writes it.
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New(`use a duration: a number and a unit, such as "500ms", "30s", "5m" or "1h30m"`)
	}
	return d, nil
}
