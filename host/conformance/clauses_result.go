package conformance

import "context"

// resultClauses report what the audit has found in all results so far.
func resultClauses() []Clause {
	audited := func(c Clause, examined func(*audit) int, none string) Clause {
		c.needs = "execute.answers"
		c.check = func(ctx context.Context, k *kit) error {
			_, err := k.samples(ctx)
			if found := k.audit.verdict(c.ID); found != nil || err != nil {
				return found
			}
			if examined(k.audit) == 0 {
				return skip(none)
			}
			return nil
		}
		return c
	}
	always := func(*audit) int { return 1 }
	return []Clause{
		audited(Clause{
			ID: "result.once", Severity: Must,
			Title:  "answers every step exactly once, where it came from",
			Demand: "A Result has the id of a step that is in flight on that stream. A second one, or one for another step, is an error.",
		}, always, ""),
		audited(Clause{
			ID: "result.outcome", Severity: Must,
			Title:  "gives every Result an outcome",
			Demand: "One of success, failure, snooze and not_accepted is set, also where it is an empty message.",
		}, always, ""),
		audited(Clause{
			ID: "result.output", Severity: Must,
			Title:  "returns JSON",
			Demand: "Success.output is JSON, or empty for null: it goes into a jsonb column.",
		}, func(a *audit) int { return a.successes }, "no step succeeded; give inputs with --step and --input"),
		audited(Clause{
			ID: "result.emits", Severity: Must,
			Title: "emits messages that can be sent",
			Demand: "With CAPABILITY_EMIT a success has messages to send: each to a queue or a namespace, with a JSON body, headers that are a " +
				"JSON object or empty, and a delay that is not negative.",
		}, func(a *audit) int { return a.emits }, "no step emitted anything"),
		audited(Clause{
			ID: "result.failure", Severity: Must,
			Title:  "says why a step failed, and what should happen next",
			Demand: "A failure has a message and a verdict that the protocol knows; retry_after_ms belongs to FAILURE_VERDICT_RETRY_AFTER.",
		}, func(a *audit) int { return a.failures }, "no step failed"),
		audited(Clause{
			ID: "result.times", Severity: Should,
			Title:  "tells when handlers ran",
			Demand: "started_at_us is in microseconds since the Unix epoch, or 0 for unknown; duration_us is not negative.",
		}, always, ""),
		audited(Clause{
			ID: "result.heartbeats", Severity: Must,
			Title: "sends heartbeats for running steps only",
			Demand: "With CAPABILITY_HEARTBEAT, heartbeats come on the step's stream before its Result, with a fraction up to 1, or negative for " +
				"unknown.",
		}, func(a *audit) int { return a.beats }, "no step sent a heartbeat"),
	}
}
