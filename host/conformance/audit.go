package conformance

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// audit remembers, for each clause about the form of messages, the first
// message that broke it.
type audit struct {
	mu           sync.Mutex
	found        map[string]error
	capabilities []pluginv1.Capability
	schema       *pluginv1.ConfigBlock
	// How many of each have been examined.
	successes, emits, failures, beats, refusals int
}

func newAudit() *audit { return &audit{found: map[string]error{}} }

func (a *audit) record(clause, expected, seen, hint string) {
	if a.found[clause] == nil {
		a.found[clause] = violated(expected, seen, hint)
	}
}

// verdict is what was found about a clause.
func (a *audit) verdict(clause string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.found[clause]
}

// declares says what the plugin whose messages come next has declared.
func (a *audit) declares(d *pluginv1.DescribeResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.capabilities = d.GetCapabilities()
}

func (a *audit) has(c pluginv1.Capability) bool { return slices.Contains(a.capabilities, c) }

// result examines one Result; step is nil where none is owed an answer.
func (a *audit) result(r *pluginv1.Result, step *pluginv1.Step, again bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if step == nil {
		seen := fmt.Sprintf("a Result for the id %d, which was not sent on this stream", r.GetId())
		if again {
			seen = fmt.Sprintf("a second Result for the step %d", r.GetId())
		}
		a.record("result.once", "exactly one Result with the step's id, on the stream that the step came on", seen,
			"keep a step's id and stream together, as an unsigned 64-bit number, and answer once")
	}
	a.times(r)
	switch o := r.GetOutcome().(type) {
	case *pluginv1.Result_Success:
		a.success(o.Success)
	case *pluginv1.Result_Failure:
		a.failures++
		a.failure(o.Failure)
	case *pluginv1.Result_Snooze:
		if o.Snooze.GetDelayMs() < 0 {
			a.record("result.outcome", "a delay of a Snooze that is not negative", fmt.Sprintf("delay_ms = %d", o.Snooze.GetDelayMs()), "")
		}
	case *pluginv1.Result_NotAccepted:
	default:
		a.record("result.outcome", "one of success, failure, snooze and not_accepted", "a Result with no outcome",
			"set one member of the oneof, also where it is an empty message")
	}
}

func (a *audit) times(r *pluginv1.Result) {
	if r.GetDurationUs() < 0 {
		a.record("result.times", "a duration_us that is not negative", fmt.Sprint(r.GetDurationUs()), "")
	}
	if us := r.GetStartedAtUs(); us != 0 {
		if off := time.Since(time.UnixMicro(us)); off < -time.Minute || off > time.Hour {
			a.record("result.times", "a started_at_us in microseconds since the Unix epoch, or 0",
				fmt.Sprintf("%d, which is %s", us, time.UnixMicro(us).UTC().Format(time.RFC3339)), "mind the unit: microseconds")
		}
	}
}

func (a *audit) success(s *pluginv1.Success) {
	a.successes++
	a.emits += len(s.GetEmits())
	if out := s.GetOutput(); len(out) > 0 && !json.Valid(out) {
		a.record("result.output", "an output that is JSON, or empty for null", quoted(out), "encode the handler's result as JSON")
	}
	if len(s.GetEmits()) > 0 && !a.has(pluginv1.Capability_CAPABILITY_EMIT) {
		a.record("result.emits", "no emits from a plugin that does not declare CAPABILITY_EMIT", fmt.Sprintf("%d of them", len(s.GetEmits())),
			"add CAPABILITY_EMIT to the description's capabilities")
	}
	for _, e := range s.GetEmits() {
		if seen := brokenEmit(e); seen != "" {
			a.record("result.emits", "a queue or a namespace, a JSON body, headers that are a JSON object or empty, and a delay that is not negative", seen, "")
		}
	}
}

func brokenEmit(e *pluginv1.Emit) string {
	var headers map[string]json.RawMessage
	switch {
	case e.GetQueue() == "" && e.GetNamespace() == "":
		return "an emitted message with neither queue nor namespace"
	case !json.Valid(e.GetBody()):
		return "the body " + quoted(e.GetBody())
	case len(e.GetHeaders()) > 0 && (json.Unmarshal(e.GetHeaders(), &headers) != nil || headers == nil):
		return "the headers " + quoted(e.GetHeaders())
	case e.GetDelayMs() < 0:
		return fmt.Sprintf("delay_ms = %d", e.GetDelayMs())
	}
	return ""
}

func (a *audit) failure(f *pluginv1.Failure) {
	if f.GetMessage() == "" {
		a.record("result.failure", "a message for people", "an empty one", "put the error's text into Failure.message")
	}
	if _, known := pluginv1.FailureVerdict_name[int32(f.GetVerdict())]; !known {
		a.record("result.failure", "a verdict that the protocol knows", fmt.Sprintf("verdict = %d", f.GetVerdict()),
			"leave it unset to let the namespace's retry policy decide")
	}
	if after := f.GetVerdict() == pluginv1.FailureVerdict_FAILURE_VERDICT_RETRY_AFTER; f.GetRetryAfterMs() < 0 || !after && f.GetRetryAfterMs() != 0 {
		a.record("result.failure", "a retry_after_ms that is not negative, with FAILURE_VERDICT_RETRY_AFTER only",
			fmt.Sprintf("retry_after_ms = %d with the verdict %v", f.GetRetryAfterMs(), f.GetVerdict()), "")
	}
}

// heartbeat examines one Heartbeat.
func (a *audit) heartbeat(b *pluginv1.Heartbeat, running bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.beats++
	switch {
	case !a.has(pluginv1.Capability_CAPABILITY_HEARTBEAT):
		a.record("result.heartbeats", "no Heartbeat from a plugin that does not declare CAPABILITY_HEARTBEAT", "one",
			"add CAPABILITY_HEARTBEAT to the description's capabilities")
	case !running:
		a.record("result.heartbeats", "heartbeats for steps that run on this stream", fmt.Sprintf("one for %d", b.GetId()),
			"stop a step's heartbeats before its Result is sent")
	case math.IsNaN(b.GetFraction()) || b.GetFraction() > 1:
		a.record("result.heartbeats", "a fraction up to 1, or a negative one for unknown", fmt.Sprint(b.GetFraction()), "")
	}
}

// diagnostics examines what a plugin says about a config block.
func (a *audit) diagnostics(resp *pluginv1.ConfigureResponse) {
	const clause = "configure.diagnostics"
	for _, d := range resp.GetDiagnostics() {
		a.refusals++
		switch {
		case d.GetSummary() == "":
			a.record(clause, "a summary for people", "an empty one", "")
		case d.GetSeverity() != pluginv1.Severity_SEVERITY_ERROR && d.GetSeverity() != pluginv1.Severity_SEVERITY_WARNING:
			a.record(clause, "SEVERITY_ERROR or SEVERITY_WARNING", d.GetSeverity().String(), "")
		case !inSchema(a.schema, d.GetPath()):
			a.record(clause, "a path to an attribute or block of the schema", showPath(d.GetPath()),
				"begin at the block's root: an attribute, then keys, indexes and attributes inside its value")
		}
	}
}

func quoted(raw []byte) string {
	const limit = 120
	if len(raw) > limit {
		return fmt.Sprintf("%q… (%d bytes)", raw[:limit], len(raw))
	}
	return fmt.Sprintf("%q", raw)
}
