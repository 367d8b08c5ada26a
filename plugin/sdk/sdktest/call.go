package sdktest

import (
	"encoding/json"

	"github.com/stephost/stephost/plugin/sdk"
)

// Call runs a step like [Host.Run] and returns its result, decoded, or the
// error of [Result.Err].
func Call[Out any](h *Host, step string, message any, opts ...StepOption) (Out, error) {
	h.t.Helper()
	var out Out
	r := h.Run(step, message, opts...)
	if err := r.Err(); err != nil {
		return out, err
	}
	return out, r.decode(&out)
}

// Emitted returns the bodies of the messages that a step emitted to a target,
// decoded. It fails the test where one does not decode.
func Emitted[Body any](r Result, target sdk.Target) []Body {
	r.t.Helper()
	var bodies []Body
	for _, m := range r.Emitted {
		if m.Target != target {
			continue
		}
		var body Body
		if err := json.Unmarshal(m.Body, &body); err != nil {
			r.t.Fatalf("step %q: decode the message %s to %s: %v", r.Step, m.Body, target, err)
		}
		bodies = append(bodies, body)
	}
	return bodies
}
