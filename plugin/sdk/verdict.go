package sdk

import (
	"fmt"
	"time"
)

// Permanent wraps an error to say that another attempt would fail as well: the
// message goes to the dead letters now. It returns nil for a nil error.
// errors.Is and errors.As see through it, and errors.As finds the
// [PermanentError] itself.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &PermanentError{Err: err}
}

// RetryAfter wraps an error to say when the next attempt makes sense, whatever
// the namespace's back-off says. It spends an attempt like any other failure,
// and the last attempt ends in the dead letters all the same. A negative delay
// counts as zero. It returns nil for a nil error. errors.As finds the
// [RetryAfterError].
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &RetryAfterError{Err: err, Delay: max(d, 0)}
}

// Snooze gives the message back for a while. It is no failure and spends no
// attempt: use it when the step cannot run yet. Messages emitted so far are
// dropped. A negative delay counts as zero. errors.As finds the
// [SnoozeError].
func Snooze(d time.Duration) error {
	return &SnoozeError{Delay: max(d, 0)}
}

// PermanentError is the verdict of [Permanent].
type PermanentError struct{ Err error }

// Error returns the wrapped error's message.
func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *PermanentError) Unwrap() error { return e.Err }

// Is matches any PermanentError, so that errors.Is(err, &PermanentError{})
// asks for the verdict alone.
func (e *PermanentError) Is(target error) bool {
	_, ok := target.(*PermanentError)
	return ok
}

// RetryAfterError is the verdict of [RetryAfter].
type RetryAfterError struct {
	Err error
	// Delay is how long to wait before the next attempt.
	Delay time.Duration
}

// Error returns the wrapped error's message.
func (e *RetryAfterError) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *RetryAfterError) Unwrap() error { return e.Err }

// Is matches any RetryAfterError.
func (e *RetryAfterError) Is(target error) bool {
	_, ok := target.(*RetryAfterError)
	return ok
}

// SnoozeError is the verdict of [Snooze].
type SnoozeError struct {
	// Delay is how long the message rests.
	Delay time.Duration
}

// Error names the delay.
func (e *SnoozeError) Error() string { return fmt.Sprintf("snoozed for %s", e.Delay) }

// Is matches any SnoozeError.
func (e *SnoozeError) Is(target error) bool {
	_, ok := target.(*SnoozeError)
	return ok
}
