package suite

import "fmt"

// Form is how thorough a run is.
type Form string

// The forms.
const (
	// Full is what figures are quoted from.
	Full Form = "full"
	// Quick is for developers: all of it in under two minutes.
	Quick Form = "quick"
	// Tiny is for the tests: does it work, not how fast.
	Tiny Form = "tiny"
)

// Pick returns the value for the form.
func Pick[T any](f Form, full, quick, tiny T) T {
	switch f {
	case Full:
		return full
	case Quick:
		return quick
	case Tiny:
		return tiny
	}
	panic(fmt.Sprintf("there is no form %q", f))
}
