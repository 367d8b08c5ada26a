package processor

import (
	"fmt"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// The rules, as the model knows them: what must follow from the end of a step.
// They share nothing with the decider.

func (g *grip) attempt() int { return g.failures + 1 }

// stopped tells whether a failure is only the handler's obedience.
func (g *grip) stopped() bool {
	return g.cancelled == pluginv1.CancelReason_CANCEL_REASON_LEASE_LOST || g.cancelled == pluginv1.CancelReason_CANCEL_REASON_DRAINING
}

func (g *grip) succeeds(emits []string) *verdict {
	return &verdict{ending: completes, outcome: OutcomeSucceeded, attempt: g.attempt(), emits: emits}
}

// fails spends the failure budget. after is the delay that was asked for;
// negative: none.
func (g *grip) fails(after time.Duration, dead string) *verdict {
	v := &verdict{ending: givesBack, outcome: OutcomeRetried, attempt: g.attempt(), counts: g.counts, status: "failed"}
	v.failures++
	v.suspicion = 0
	v.delay = after
	if after < 0 {
		v.delay = min(time.Duration(v.failures)*modelTick, 2*modelTick)
	}
	if dead == "permanent" || v.failures == modelMaxAttempts {
		v.ending, v.outcome, v.reason = buries, OutcomeDeadLettered, dead
	}
	return v
}

func (g *grip) snoozes(d time.Duration) *verdict {
	v := g.released()
	v.outcome, v.delay, v.suspicion = OutcomeSnoozed, d, 0
	return v
}

// released costs nothing.
func (g *grip) released() *verdict {
	return &verdict{ending: givesBack, outcome: OutcomeReleased, attempt: g.attempt(), counts: g.counts}
}

// vanishes: nobody knows how the delivery ended.
func (g *grip) vanishes() *verdict {
	v := g.released()
	v.unaccounted = true
	return v
}

// crashed: its process died, with so many steps.
func (g *grip) crashed(steps int) *verdict {
	v := g.released()
	v.suspicion++
	if steps == 1 {
		v.suspicion = max(v.suspicion, 3)
	}
	if steps > 1 || g.group > 1 {
		return v
	}
	v.counts.crashes++
	if v.counts.crashes >= modelMaxCrashes {
		v.ending, v.outcome, v.reason, v.status = buries, OutcomeDeadLettered, "crashes", "error"
	}
	return v
}

// disappears: delivered too often without any outcome.
func (g *grip) disappears() *verdict {
	return &verdict{ending: buries, outcome: OutcomeDeadLettered, attempt: g.attempt(), reason: "deliveries_spent", status: "error"}
}

// end gives a grip its verdict.
func (g *grip) end(v *verdict) {
	g.running, g.waiting, g.verdict = false, false, v
}

func (g *grip) String() string {
	return fmt.Sprintf("step %d: message %d (tag %d) epoch %d, running %t, waiting %t, group %d, verdict %+v",
		g.step, g.key.id, g.tag, g.epoch, g.running, g.waiting, g.group, g.verdict)
}

// processCrash is why steps are lost when their process dies.
type processCrash struct{ steps int }

func (c processCrash) Error() string { return fmt.Sprintf("crashed with %d steps", c.steps) }
func (c processCrash) Alone() bool   { return c.steps == 1 }
func (processCrash) Trace() string   { return "panic: boom" }
