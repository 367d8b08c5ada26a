package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"net"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/internal/hclfile"
)

// Bounds that protect the host from a slip of the pen.
const (
	maxCount    = 1_000_000
	maxBuffer   = 1 << 24
	maxLimit    = 1 << 30
	maxCPUs     = 1024
	maxDuration = 365 * 24 * time.Hour
)

// key is one attribute of a section: how its value gets into the typed
// configuration and how it is shown again. Errors of decode never quote the
// value: the source line shows what was written, and what came from the
// environment must not be shown.
type key struct {
	name     string
	target   any // the pointer that decode fills; identifies the key
	required bool
	// live: a running host, or plugin, takes the value of a file that is read
	// again.
	live   bool
	decode func(value) error
	show   func() any
}

// live marks a key that can change while what it belongs to runs.
func live(k key) key {
	k.live = true
	return k
}

// value is a known value without marks, null only inside collections.
type value struct {
	cty.Value
	env bool // text from the environment: may be converted
}

// as returns the value in the wanted type. What is written in the file must
// have that type, so that a quoted number is noticed.
func (v value) as(want cty.Type, name string) (cty.Value, error) {
	if v.Type().Equals(want) {
		return v.Value, nil
	}
	if v.env {
		if converted, err := convert.Convert(v.Value, want); err == nil && !converted.IsNull() {
			return converted, nil
		}
	}
	return cty.NilVal, fmt.Errorf("use %s, not %s", name, article(v.Type().FriendlyName()))
}

func article(noun string) string {
	if strings.ContainsAny(noun[:1], "aeiou") {
		return "an " + noun
	}
	return "a " + noun
}

func text(name string, p *string, check func(string) error) key {
	return key{name: name, target: p, show: func() any { return *p }, decode: func(v value) error {
		s, err := v.as(cty.String, "a string")
		if err != nil {
			return err
		}
		if check != nil {
			if err := check(s.AsString()); err != nil {
				return err
			}
		}
		*p = s.AsString()
		return nil
	}}
}

func secret(name string, p *Secret) key {
	return key{name: name, target: p, show: func() any { return showSecret(*p) }, decode: func(v value) error {
		s, err := v.as(cty.String, "a string")
		if err != nil {
			return err
		}
		if strings.ContainsRune(s.AsString(), 0) {
			return errors.New("the text contains a NUL character")
		}
		*p = Secret(s.AsString())
		return nil
	}}
}

// showSecret tells an absent secret from a present one.
func showSecret(s Secret) any {
	if s == "" {
		return nil
	}
	return s
}

func enum[T ~string](name string, p *T, allowed ...T) key {
	return key{name: name, target: p, show: func() any { return string(*p) }, decode: func(v value) error {
		s, err := v.as(cty.String, "a string")
		if err != nil {
			return err
		}
		for _, candidate := range allowed {
			if string(candidate) == s.AsString() {
				*p = candidate
				return nil
			}
		}
		return fmt.Errorf("use %s", alternatives(allowed))
	}}
}

func alternatives[T ~string](allowed []T) string {
	var b strings.Builder
	for i, a := range allowed {
		switch {
		case i == 0:
		case i == len(allowed)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", string(a))
	}
	return b.String()
}

func mode(name string, p *eventsystem.Mode) key {
	var allowed []string
	for _, m := range eventsystem.Modes() {
		allowed = append(allowed, m.String())
	}
	var written string
	k := enum(name, &written, allowed...)
	decode := k.decode
	k.target = p
	k.show = func() any { return p.String() }
	k.decode = func(v value) error {
		if err := decode(v); err != nil {
			return err
		}
		return p.UnmarshalText([]byte(written))
	}
	return k
}

func boolean(name string, p *bool) key {
	return key{name: name, target: p, show: func() any { return *p }, decode: func(v value) error {
		b, err := v.as(cty.Bool, "true or false")
		if err != nil {
			return err
		}
		*p = b.True()
		return nil
	}}
}

func integer(name string, p *int, most int) key {
	return key{name: name, target: p, show: func() any { return *p }, decode: func(v value) error {
		n, err := v.as(cty.Number, "a whole number")
		if err != nil {
			return err
		}
		i, accuracy := n.AsBigFloat().Int64()
		if accuracy != big.Exact || i < 1 || i > int64(most) {
			return fmt.Errorf("use a whole number from 1 to %d", most)
		}
		*p = int(i)
		return nil
	}}
}

// number reads one above zero.
func number(name string, p *float64, most float64) key {
	return key{name: name, target: p, show: func() any { return *p }, decode: func(v value) error {
		n, err := v.as(cty.Number, "a number")
		if err != nil {
			return err
		}
		f, _ := n.AsBigFloat().Float64()
		if f <= 0 || f > most {
			return fmt.Errorf("use a number above 0, at most %g", most)
		}
		*p = f
		return nil
	}}
}

// optional shows a key whose default is none as null until it is set.
func optional(k key) key {
	show := k.show
	k.show = func() any {
		if reflect.ValueOf(k.target).Elem().IsZero() {
			return nil
		}
		return show()
	}
	return k
}

func ratio(name string, p *float64) key {
	return key{name: name, target: p, show: func() any { return *p }, decode: func(v value) error {
		n, err := v.as(cty.Number, "a number")
		if err != nil {
			return err
		}
		f, _ := n.AsBigFloat().Float64()
		if f < 0 || f > 1 {
			return errors.New("use a number from 0 to 1")
		}
		*p = f
		return nil
	}}
}

// duration reads "30s". Zero is allowed only where it means something.
func duration(name string, p *time.Duration, zero bool) key {
	return key{name: name, target: p, show: func() any { return p.String() }, decode: func(v value) error {
		s, err := v.as(cty.String, `a duration in quotes, such as "30s"`)
		if err != nil {
			return err
		}
		d, err := hclfile.ParseDuration(s.AsString())
		switch {
		case err != nil:
			return err
		case d < 0 && zero:
			return errors.New("use a duration of zero or more")
		case d <= 0 && !zero:
			return errors.New("use a duration above zero")
		case d > maxDuration:
			return fmt.Errorf("use a duration of at most %dh", int(maxDuration.Hours()))
		}
		*p = d
		return nil
	}}
}

func byteSize(name string, p *int64) key {
	show := func() any { return humanize.IBytes(uint64(*p)) } //nolint:gosec // never negative
	return key{name: name, target: p, show: show, decode: func(v value) error {
		if v.Type() == cty.Number && !v.env {
			v.Value = cty.StringVal(v.AsBigFloat().Text('f', -1))
		}
		s, err := v.as(cty.String, `a size in quotes, such as "64MiB"`)
		if err != nil {
			return err
		}
		n, err := humanize.ParseBytes(s.AsString())
		if err != nil || n == 0 || n > math.MaxInt64 {
			return errors.New(`use a size above zero: a number and a unit, such as "512KiB", "64MiB" or "1GiB"`)
		}
		*p = int64(n)
		return nil
	}}
}

// byteSizeOrZero tells zero from nothing.
func byteSizeOrZero(name string, p **int64) key {
	var n int64
	k := byteSize(name, &n)
	decode, show := k.decode, k.show
	k.target = p
	k.show = func() any {
		if *p == nil {
			return nil
		}
		n = **p
		return show()
	}
	k.decode = func(v value) error {
		size := new(int64)
		*p = size
		if (v.Type() == cty.Number && v.AsBigFloat().Sign() == 0) || (v.Type() == cty.String && v.AsString() == "0") {
			return nil
		}
		if err := decode(v); err != nil {
			return errors.New(`use a size, such as "64MiB", or 0`)
		}
		*size = n
		return nil
	}
	return k
}

func textList(name string, p *[]string) key {
	return key{name: name, target: p, show: func() any { return append([]string{}, *p...) }, decode: func(v value) error {
		if !v.Type().IsTupleType() && !v.Type().IsListType() {
			return errors.New(`use a list of strings, such as ["--flag", "value"]`)
		}
		list := []string{}
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			if e.Type() != cty.String || e.IsNull() || strings.ContainsRune(e.AsString(), 0) {
				return fmt.Errorf("element %d must be a string", len(list)+1)
			}
			list = append(list, e.AsString())
		}
		*p = list
		return nil
	}}
}

// secretMap reads environment variables. A null element is left out, as an
// unset variable that is passed on should be.
func secretMap(name string, p *map[string]Secret) key {
	show := func() any {
		shown := map[string]any{}
		for k, s := range *p {
			shown[k] = s
		}
		return shown
	}
	return key{name: name, target: p, show: show, decode: func(v value) error {
		if !v.Type().IsObjectType() && !v.Type().IsMapType() {
			return errors.New(`use a map of strings, such as { REGION = "eu" }`)
		}
		vars := map[string]Secret{}
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			switch variable := k.AsString(); {
			case variable == "" || strings.ContainsAny(variable, "=\x00"):
				return errors.New("a key is not the name of an environment variable")
			case e.IsNull():
			case e.Type() != cty.String || strings.ContainsRune(e.AsString(), 0):
				return errors.New("every value must be a string")
			default:
				vars[variable] = Secret(e.AsString())
			}
		}
		*p = vars
		return nil
	}}
}

func notEmpty(s string) error {
	if strings.TrimSpace(s) == "" || strings.ContainsRune(s, 0) {
		return errors.New("the text must not be empty")
	}
	return nil
}

func hostPort(s string) error {
	if s == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New(`use host:port, such as "127.0.0.1:7420", or "" to switch it off`)
	}
	return nil
}

// loopback reports whether only this machine can reach the address.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
