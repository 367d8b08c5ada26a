package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// invocation is one call of a handler, on its way to becoming a result.
type invocation struct {
	task     *task
	started  time.Time
	output   []byte
	err      error
	returned bool
}

// successResult is a result and its outcome in one allocation.
type successResult struct {
	result  pluginv1.Result
	outcome pluginv1.Result_Success
	success pluginv1.Success
}

// result turns what happened into the step's one answer. It runs in the
// handler's goroutine, so that a panic's stack is still there.
func (r *invocation) result(panicked any) *pluginv1.Result {
	emits := r.task.end()
	var res *pluginv1.Result
	switch {
	case panicked != nil:
		res = crashed("panic: " + fmt.Sprint(panicked))
	case !r.returned:
		res = crashed("handler ended its goroutine with runtime.Goexit")
	case r.err != nil:
		res = r.unsuccessful()
	default:
		res = r.successful(emits)
	}
	res.Id = r.task.step.GetId()
	res.StartedAtUs = r.started.UnixMicro()
	res.DurationUs = time.Since(r.started).Microseconds()
	return res
}

func (r *invocation) successful(emits []*pluginv1.Emit) *pluginv1.Result {
	if !r.task.handler.trusted && len(r.output) > 0 && !json.Valid(r.output) {
		return failed(&pluginv1.Failure{
			Type:    protocol.FailureBadOutput,
			Message: "handler returned something that is not JSON",
		})
	}
	if size := len(r.output) + r.task.emitBytes; size > r.task.stream.svc.maxResultBytes {
		return failed(&pluginv1.Failure{
			Type: protocol.FailureBadOutput,
			Message: fmt.Sprintf("result and emitted messages have %d bytes together, more than the %d that can travel",
				size, r.task.stream.svc.maxResultBytes),
		})
	}
	s := &successResult{}
	s.success.Output = r.output
	s.success.Emits = emits
	s.outcome.Success = &s.success
	s.result.Outcome = &s.outcome
	return &s.result
}

// unsuccessful turns an error into a result. A verdict in the error stands
// also when the context has ended, since the handler gave it knowingly.
func (r *invocation) unsuccessful() (res *pluginv1.Result) {
	// The error's methods are the handler's code as well: Error on a nil
	// pointer must not end the process.
	defer func() {
		if v := recover(); v != nil {
			res = crashed("panic in the handler's error: " + fmt.Sprint(v))
		}
	}()
	var snooze *SnoozeError
	if errors.As(r.err, &snooze) {
		return &pluginv1.Result{Outcome: &pluginv1.Result_Snooze{
			Snooze: &pluginv1.Snooze{DelayMs: roundUpMillis(snooze.Delay)},
		}}
	}
	f := &pluginv1.Failure{Message: r.err.Error(), Type: r.failureType()}
	var retryAfter *RetryAfterError
	switch {
	case errors.Is(r.err, &PermanentError{}), f.GetType() == protocol.FailureBadInput:
		f.Verdict = pluginv1.FailureVerdict_FAILURE_VERDICT_PERMANENT
	case errors.As(r.err, &retryAfter):
		f.Verdict = pluginv1.FailureVerdict_FAILURE_VERDICT_RETRY_AFTER
		f.RetryAfterMs = roundUpMillis(retryAfter.Delay)
	}
	return failed(f)
}

// failureType names the kind of error.
func (r *invocation) failureType() string {
	var input *inputError
	var output *outputError
	switch {
	case errors.As(r.err, &input):
		return protocol.FailureBadInput
	case errors.As(r.err, &output):
		return protocol.FailureBadOutput
	case r.task.Err() != nil && errors.Is(context.Cause(r.task), ErrTimeout):
		return protocol.FailureTimeout
	case r.task.Err() != nil:
		return protocol.FailureCancelled
	default:
		return errorType(r.err)
	}
}

// errorType returns the Go type of the innermost error that is more than a
// text, or "error".
func errorType(err error) string {
	name := "error"
	for ; err != nil; err = errors.Unwrap(err) {
		typ := reflect.TypeOf(err)
		elem := typ
		if elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		}
		switch elem.PkgPath() {
		case "errors", "fmt", reflect.TypeFor[PermanentError]().PkgPath():
		default:
			name = typ.String()
		}
	}
	return name
}

// crashed is a handler that did not return. It is called while the stack is
// still there.
func crashed(message string) *pluginv1.Result {
	return failed(&pluginv1.Failure{
		Type:    protocol.FailurePanic,
		Message: message,
		Stack:   string(debug.Stack()),
	})
}

// failed wraps a failure, with its texts made fit to travel.
func failed(f *pluginv1.Failure) *pluginv1.Result {
	f.Message = cleanText(f.GetMessage(), maxMessageBytes)
	f.Type = cleanText(f.GetType(), maxNameBytes)
	f.Stack = cleanText(f.GetStack(), maxStackBytes)
	return &pluginv1.Result{Outcome: &pluginv1.Result_Failure{Failure: f}}
}

// notAccepted answers a step that never started.
func notAccepted(id uint64, reason string) *pluginv1.Result {
	return &pluginv1.Result{Id: id, Outcome: &pluginv1.Result_NotAccepted{
		NotAccepted: &pluginv1.NotAccepted{Reason: reason},
	}}
}
