package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/stephost/stephost/internal/hclfile"
)

// inherited marks a limit that a namespace does not set, until check fills in
// the queue block's.
const inherited = -1

// forever is how a user says that age deletes nothing.
const forever = "forever"

const (
	day = 24 * time.Hour
	// maxAge is for archives that the law wants kept.
	maxAge = 100 * 365 * day
)

// age reads a duration that may begin with days, or "forever", which is zero.
// Only ages have days: what a host waits for is never that long.
func age(name string, p *time.Duration) key {
	return key{name: name, target: p, show: func() any { return ageText(*p) }, decode: func(v value) error {
		s, err := v.as(cty.String, `an age in quotes, such as "30d", or "forever"`)
		if err != nil {
			return err
		}
		if s.AsString() == forever {
			*p = 0
			return nil
		}
		d, err := hclfile.ParseAge(s.AsString())
		switch {
		case err != nil:
			return fmt.Errorf(`%w, or "forever"`, err)
		case d <= 0:
			return errors.New(`use an age above zero, or "forever"`)
		case d > maxAge:
			return fmt.Errorf(`use an age of at most %dd, or "forever"`, maxAge/day)
		}
		*p = d
		return nil
	}}
}

func ageText(d time.Duration) string {
	switch {
	case d <= 0:
		return forever
	case d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}

// rowLimit reads how many rows are kept; 0 is all.
func rowLimit(name string, p *int64) key {
	return key{name: name, target: p, show: func() any { return *p }, decode: func(v value) error {
		n, err := v.as(cty.Number, "a whole number")
		if err != nil {
			return err
		}
		i, accuracy := n.AsBigFloat().Int64()
		if accuracy != big.Exact || i < 0 || i > math.MaxInt64/2 {
			return errors.New("use a whole number, or 0 for no limit")
		}
		*p = i
		return nil
	}}
}

// sizeLimit reads how many bytes are kept; 0 is all.
func sizeLimit(name string, p *int64) key {
	k := byteSize(name, p)
	decode, show := k.decode, k.show
	k.show = func() any {
		if *p <= 0 {
			return 0
		}
		return show()
	}
	k.decode = func(v value) error {
		if (v.Type() == cty.Number && v.AsBigFloat().Sign() == 0) || (v.Type() == cty.String && v.AsString() == "0") {
			*p = 0
			return nil
		}
		if err := decode(v); err != nil {
			return errors.New(`use a size, such as "10GiB", or 0 for no limit`)
		}
		return nil
	}
	return k
}
