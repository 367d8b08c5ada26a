package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// handler is a step's function in the form that the stream runs: bytes in,
// bytes out, middleware around it.
type handler struct {
	step      string
	byDefault bool
	timeout   time.Duration
	fn        Next
	// trusted marks output that json.Marshal has made and nobody has touched
	// since, so that it need not be checked again.
	trusted bool
}

// HandlerOption adjusts one handler.
type HandlerOption func(*handler)

// Default marks the handler for messages that name no step. A plugin with a
// single handler needs no mark.
func Default() HandlerOption {
	return func(h *handler) { h.byDefault = true }
}

// Timeout bounds how long the handler may run. The namespace's own timeout
// applies as well; the shorter one counts. It panics unless d is positive.
func Timeout(d time.Duration) HandlerOption {
	if d <= 0 {
		panic(fmt.Sprintf("sdk: Timeout(%s): must be positive", d))
	}
	return func(h *handler) { h.timeout = d }
}

// Handle registers fn for a step. The whole message is decoded from JSON into
// In, and what fn returns is encoded as the step's result; both follow
// encoding/json, so fields that In does not name are ignored. A message that
// does not fit In fails for good, since another attempt would read the same.
//
// The context ends when the step must stop; see [ErrTimeout] and its
// neighbours. A nil error completes the step. [Permanent], [RetryAfter] and
// [Snooze] say what happens next; any other error follows the namespace's
// retry policy. fn may be called by several goroutines at once.
func Handle[In, Out any](step string, fn func(ctx context.Context, in In) (Out, error), opts ...HandlerOption) Option {
	return func(p *Plugin) {
		p.add(newHandler(step, true, typed(fn), opts))
	}
}

// HandleRaw registers fn for a step, without any decoding: it gets the message
// as it was stored, which is JSON but may be of any shape, and returns JSON,
// or nothing for null. fn must not change in, nor what it has returned.
func HandleRaw(step string, fn func(ctx context.Context, in []byte) ([]byte, error), opts ...HandlerOption) Option {
	return func(p *Plugin) {
		p.add(newHandler(step, false, fn, opts))
	}
}

func newHandler(step string, trusted bool, fn Next, opts []HandlerOption) *handler {
	if fn == nil {
		panic(fmt.Sprintf("sdk: the handler of step %q is nil", step))
	}
	h := &handler{step: step, trusted: trusted, fn: fn}
	for _, opt := range opts {
		opt(h)
	}
	return h
}

// wrap puts the middleware around the handler, the first one outermost.
func (h *handler) wrap(middleware []func(Next) Next) {
	for i := len(middleware) - 1; i >= 0; i-- {
		h.fn = middleware[i](h.fn)
		h.trusted = false
	}
}

// typed adapts a function on values to one on JSON.
func typed[In, Out any](fn func(context.Context, In) (Out, error)) Next {
	if fn == nil {
		return nil
	}
	return func(ctx context.Context, raw []byte) ([]byte, error) {
		var in In
		if err := json.Unmarshal(raw, &in); err != nil {
			return nil, &inputError{err: err}
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		encoded, err := json.Marshal(out)
		if err != nil {
			return nil, &outputError{err: fmt.Errorf("encode result: %w", err)}
		}
		return encoded, nil
	}
}

// inputError is a message that does not fit its handler.
type inputError struct{ err error }

func (e *inputError) Unwrap() error { return e.err }

func (e *inputError) Error() string {
	var wrongType *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(e.err, &wrongType) && wrongType.Field != "":
		return fmt.Sprintf("decode message: field %q (offset %d): cannot read %s as %s",
			wrongType.Field, wrongType.Offset, wrongType.Value, wrongType.Type)
	case errors.As(e.err, &wrongType):
		return fmt.Sprintf("decode message: offset %d: cannot read %s as %s",
			wrongType.Offset, wrongType.Value, wrongType.Type)
	case errors.As(e.err, &syntax):
		return fmt.Sprintf("decode message: offset %d: %s", syntax.Offset, syntax)
	default:
		return "decode message: " + e.err.Error()
	}
}

// outputError is a result that cannot travel.
type outputError struct{ err error }

func (e *outputError) Error() string { return e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }
