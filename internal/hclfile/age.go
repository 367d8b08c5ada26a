package hclfile

import (
	"errors"
	"regexp"
	"strconv"
	"time"
)

// Five digits are 273 years, which fit into a duration.
var wholeDays = regexp.MustCompile(`^([0-9]{1,5})d`)

// ParseAge reads a duration that may begin with days, like 30d or 1d12h.
func ParseAge(s string) (time.Duration, error) {
	var days time.Duration
	match := wholeDays.FindStringSubmatch(s)
	if match != nil {
		n, err := strconv.Atoi(match[1])
		if err != nil {
			return 0, err
		}
		if days, s = time.Duration(n)*24*time.Hour, s[len(match[0]):]; s == "" {
			return days, nil
		}
	}
	rest, err := ParseDuration(s)
	if err != nil || (match != nil && (rest < 0 || days+rest < days)) {
		return 0, errors.New(`use an age: a number and a unit, such as "30d", "36h" or "1d12h"`)
	}
	return days + rest, nil
}
