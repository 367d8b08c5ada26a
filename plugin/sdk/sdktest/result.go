package sdktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
)

// Verdict is what an outcome makes of the message.
type Verdict string

// The verdicts.
const (
	// Completed settles the message with its result.
	Completed Verdict = "completed"
	// Retry is a failed attempt; the namespace's policy decides on the next.
	Retry Verdict = "retry"
	// RetryAfter is a failed attempt; the next comes after the result's Delay.
	RetryAfter Verdict = "retry after"
	// Permanent is a failure that sends the message to the dead letters.
	Permanent Verdict = "permanent"
	// Snooze gives the message back for the result's Delay and spends nothing.
	Snooze Verdict = "snooze"
	// GivenBack is an error after the step was cancelled because its lease was
	// lost or the host drained. It is no failure, whatever its verdict.
	GivenBack Verdict = "given back"
	// NotAccepted means that the handler never ran; it spends nothing.
	NotAccepted Verdict = "not accepted"
)

// Result is the outcome of a step.
type Result struct {
	// Step is the name of the handler.
	Step    string
	Verdict Verdict
	// Output is the step's result as JSON; empty for null, and unless the step
	// completed.
	Output json.RawMessage
	// Emitted are the messages that are sent with the completion of the step, in
	// order.
	Emitted []Message
	// Failure is what went wrong; nil unless the verdict is Retry, RetryAfter,
	// Permanent or GivenBack.
	Failure *Failure
	// Delay is that of RetryAfter and Snooze.
	Delay time.Duration
	// Reason says why a step was not accepted.
	Reason string
	// Heartbeats is the progress that was reported. Of reports in quick
	// succession only the last is here.
	Heartbeats []sdk.Progress
	// Duration is how long the handler ran.
	Duration time.Duration

	t TB
}

// Message is a message that a step emitted.
type Message struct {
	// Target is what [sdk.ToNamespace] or [sdk.ToQueue] returned; compare it
	// with ==.
	Target sdk.Target
	// Body is JSON.
	Body    json.RawMessage
	Headers map[string]any
	Delay   time.Duration
}

// Failure is an error as it reaches the host.
type Failure struct {
	// Type is the Go type of the handler's error, or "error" for a mere text.
	// The SDK's own are "panic", "timeout", "cancelled", "bad_input" and
	// "bad_output".
	Type    string
	Message string
	// Stack is that of a panic.
	Stack string
}

// Error returns the message.
func (f *Failure) Error() string { return f.Message }

// ErrNotAccepted is the error of a step whose handler never ran.
var ErrNotAccepted = errors.New("step was not accepted")

// Err returns nil if the step completed, and else an error with the verdict in
// it that the handler gave: errors.As finds a [sdk.PermanentError],
// [sdk.RetryAfterError] or [sdk.SnoozeError], and the [Failure].
func (r Result) Err() error {
	switch r.Verdict {
	case Completed:
		return nil
	case Permanent:
		return sdk.Permanent(r.Failure)
	case RetryAfter:
		return sdk.RetryAfter(r.Failure, r.Delay)
	case Snooze:
		return sdk.Snooze(r.Delay)
	case NotAccepted:
		return fmt.Errorf("%w: %s", ErrNotAccepted, r.Reason)
	default:
		return r.Failure
	}
}

// Require fails the test at once, showing the whole outcome, unless the verdict
// is as wanted. It returns the result.
func (r Result) Require(want Verdict) Result {
	r.t.Helper()
	if r.Verdict != want {
		r.t.Fatalf("step %q: want the verdict %q, got\n%s", r.Step, want, r)
	}
	return r
}

// Decode requires that the step completed and decodes its result into what v
// points to.
func (r Result) Decode(v any) {
	r.t.Helper()
	r.Require(Completed)
	if err := r.decode(v); err != nil {
		r.t.Fatalf("%v", err)
	}
}

func (r Result) decode(v any) error {
	output := r.Output
	if len(output) == 0 {
		output = json.RawMessage("null")
	}
	if err := json.Unmarshal(output, v); err != nil {
		return fmt.Errorf("step %q: decode its result %s: %w", r.Step, output, err)
	}
	return nil
}

// String describes the outcome, a line for each part of it.
func (r Result) String() string {
	var b strings.Builder
	switch r.Verdict {
	case Completed:
		fmt.Fprintf(&b, "completed: %s", orNull(r.Output))
	case RetryAfter:
		fmt.Fprintf(&b, "retry after %s: %s (%s)", r.Delay, r.Failure.Message, r.Failure.Type)
	case Snooze:
		fmt.Fprintf(&b, "snooze for %s", r.Delay)
	case NotAccepted:
		fmt.Fprintf(&b, "not accepted: %s", r.Reason)
	default:
		fmt.Fprintf(&b, "%s: %s (%s)", r.Verdict, r.Failure.Message, r.Failure.Type)
	}
	for _, m := range r.Emitted {
		fmt.Fprintf(&b, "\nemitted to %s: %s", m.Target, orNull(m.Body))
		if len(m.Headers) > 0 {
			headers, _ := json.Marshal(m.Headers) // it has been JSON before
			fmt.Fprintf(&b, " with headers %s", headers)
		}
		if m.Delay > 0 {
			fmt.Fprintf(&b, " in %s", m.Delay)
		}
	}
	if r.Failure != nil && r.Failure.Stack != "" {
		fmt.Fprintf(&b, "\n%s", r.Failure.Stack)
	}
	return b.String()
}

func orNull(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "null"
	}
	return string(raw)
}

// newResult reads a result off the wire. cancelled is why the step was asked to
// stop, if it was.
func newResult(t TB, step string, wire *pluginv1.Result, beats []sdk.Progress, cancelled pluginv1.CancelReason) Result {
	r := Result{
		Step: step, Heartbeats: beats, Duration: time.Duration(wire.GetDurationUs()) * time.Microsecond, t: t,
	}
	switch o := wire.GetOutcome().(type) {
	case *pluginv1.Result_Success:
		r.Verdict, r.Output = Completed, o.Success.GetOutput()
		for _, e := range o.Success.GetEmits() {
			r.Emitted = append(r.Emitted, newMessage(e))
		}
	case *pluginv1.Result_Failure:
		r.fail(o.Failure, cancelled)
	case *pluginv1.Result_Snooze:
		r.Verdict, r.Delay = Snooze, millis(o.Snooze.GetDelayMs())
	case *pluginv1.Result_NotAccepted:
		r.Verdict, r.Reason = NotAccepted, o.NotAccepted.GetReason()
	}
	return r
}

func (r *Result) fail(f *pluginv1.Failure, cancelled pluginv1.CancelReason) {
	r.Verdict = Retry
	r.Failure = &Failure{Type: f.GetType(), Message: f.GetMessage(), Stack: f.GetStack()}
	switch cancelled {
	case pluginv1.CancelReason_CANCEL_REASON_LEASE_LOST, pluginv1.CancelReason_CANCEL_REASON_DRAINING:
		r.Verdict = GivenBack
		return
	default:
	}
	switch f.GetVerdict() {
	case pluginv1.FailureVerdict_FAILURE_VERDICT_PERMANENT:
		r.Verdict = Permanent
	case pluginv1.FailureVerdict_FAILURE_VERDICT_RETRY_AFTER:
		r.Verdict, r.Delay = RetryAfter, millis(f.GetRetryAfterMs())
	default:
	}
}

func newMessage(e *pluginv1.Emit) Message {
	m := Message{Target: sdk.ToQueue(e.GetQueue()), Body: e.GetBody(), Delay: millis(e.GetDelayMs())}
	if namespace := e.GetNamespace(); namespace != "" {
		m.Target = sdk.ToNamespace(namespace)
	}
	_ = json.Unmarshal(e.GetHeaders(), &m.Headers) // empty means none; the SDK encodes the rest
	return m
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
