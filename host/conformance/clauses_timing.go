package conformance

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

func timingClauses() []Clause {
	return []Clause{{
		ID: "timing.concurrent", Severity: Should, needs: "execute.answers",
		Title:  "runs steps at the same time",
		Demand: "A host sends as many steps as the namespace's concurrency allows, and expects that one does not wait for another.",
		check:  checkConcurrent,
	}, {
		ID: "timing.max-concurrency", Severity: Should, needs: "execute.answers",
		Title:  "keeps the max_concurrency that it declares",
		Demand: "A host sends no more than max_concurrency steps at once; should more arrive, they wait or come back as not accepted.",
		check:  checkMaxConcurrency,
	}, {
		ID: "timing.timeout", Severity: Should, needs: "execute.answers",
		Title:  "ends a step whose time is up",
		Demand: "When timeout_ms have passed, the handler is told and the step fails, best with the type " + protocol.FailureTimeout + ".",
		check:  checkTimeout,
	}, {
		ID: "cancel.unknown", Severity: Must, needs: "execute.answers",
		Title:  "ignores cancellations of steps that it does not run",
		Demand: "A cancellation may cross the step's Result, or come on another stream than the step; every reason is possible.",
		check:  checkCancelUnknown,
	}, {
		ID: "cancel.running", Severity: Must, needs: "execute.answers",
		Title:  "ends a running step that is cancelled, and still answers it",
		Demand: "With CAPABILITY_CANCEL a Cancellation reaches the handler. The step answers with one Result all the same.",
		check:  checkCancelRunning,
	}}
}

func checkConcurrent(ctx context.Context, k *kit) error {
	const together = 4
	s, err := k.slowest(ctx)
	if err != nil {
		return err
	}
	p, err := k.usual(ctx)
	if err != nil {
		return err
	}
	if limit := p.described.GetMaxConcurrency(); limit > 0 && limit < together {
		return skip(fmt.Sprintf("it declares a max_concurrency of %d", limit))
	}
	return k.withStream(ctx, func(x *exchange, _ Sample) error {
		began := time.Now()
		if err := x.run(ctx, k.newSteps(s.Sample, together)...); err != nil {
			return err
		}
		if took, most := time.Since(began), s.took*(together-1); took > most {
			return violated(fmt.Sprintf("%d steps of %v at the same time", together, s.took.Round(time.Millisecond)),
				fmt.Sprintf("%v for all", took.Round(time.Millisecond)), "run each step in a goroutine, thread or task of its own, or declare max_concurrency")
		}
		return nil
	})
}

func checkMaxConcurrency(ctx context.Context, k *kit) error {
	s, err := k.slowest(ctx)
	if err != nil {
		return err
	}
	p, err := k.usual(ctx)
	if err != nil {
		return err
	}
	limit := int(p.described.GetMaxConcurrency())
	switch {
	case limit == 0:
		return skip("it declares none")
	case limit > 100:
		return skip(fmt.Sprintf("%d steps at once are too many to try", limit))
	}
	return k.withStream(ctx, func(x *exchange, _ Sample) error {
		steps := k.newSteps(s.Sample, limit+2)
		if err := x.run(ctx, steps...); err != nil {
			return err
		}
		most, known := mostAtOnce(x, steps)
		if !known {
			return skip("its results do not say when handlers started (started_at_us)")
		}
		if most > limit {
			return violated(fmt.Sprintf("at most %d steps at once", limit), fmt.Sprint(most), "let further steps wait, or answer NotAccepted")
		}
		return nil
	})
}

// mostAtOnce is how many handlers ran at the same time, by what their results
// say.
func mostAtOnce(x *exchange, steps []*pluginv1.Step) (most int, known bool) {
	type edge struct {
		at   int64
		step int
	}
	var edges []edge
	for _, s := range steps {
		r := x.answer(s)
		if r.GetStartedAtUs() > 0 && r.GetDurationUs() > 0 {
			// Ends come before starts of the same moment.
			edges = append(edges, edge{r.GetStartedAtUs(), 1}, edge{r.GetStartedAtUs() + r.GetDurationUs(), -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.step - b.step
	})
	now := 0
	for _, e := range edges {
		now += e.step
		most = max(most, now)
	}
	return most, len(edges) > 0
}

func checkTimeout(ctx context.Context, k *kit) error {
	s, err := k.slowest(ctx)
	if err != nil {
		return err
	}
	return k.withStream(ctx, func(x *exchange, _ Sample) error {
		step := k.newStep(s.Sample)
		limit := s.took / 5
		step.TimeoutMs = limit.Milliseconds()
		began := time.Now()
		if err := x.run(ctx, step); err != nil {
			return err
		}
		// A result that comes late for a busy machine is still told from one that
		// did not care.
		took := time.Since(began).Round(time.Millisecond)
		if took > s.took*3/4 {
			return violated(fmt.Sprintf("a Result soon after %v", limit.Round(time.Millisecond)), took.String(),
				"start a timer for each step, and pass it to the handler as a deadline, an abort signal or an event")
		}
		if f := x.answer(step).GetFailure(); f.GetType() != protocol.FailureTimeout {
			return violated("a failure of the type "+protocol.FailureTimeout, fmt.Sprintf("type %q", f.GetType()), "")
		}
		return nil
	})
}

func checkCancelUnknown(ctx context.Context, k *kit) error {
	return k.withStream(ctx, func(x *exchange, s Sample) error {
		done := k.newStep(s)
		if err := x.run(ctx, done); err != nil {
			return err
		}
		for reason := range pluginv1.CancelReason_name {
			for _, id := range []uint64{done.GetId(), 1 << 40} {
				if err := x.cancelStep(id, pluginv1.CancelReason(reason)); err != nil {
					return err
				}
			}
		}
		return x.run(ctx, k.newStep(s))
	})
}

func checkCancelRunning(ctx context.Context, k *kit) error {
	p, err := k.usual(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(p.described.GetCapabilities(), pluginv1.Capability_CAPABILITY_CANCEL) {
		return skip("it does not declare CAPABILITY_CANCEL")
	}
	s, err := k.slowest(ctx)
	if err != nil {
		return err
	}
	return k.withStream(ctx, func(x *exchange, _ Sample) error {
		step := k.newStep(s.Sample)
		step.TimeoutMs = 0
		began := time.Now()
		if err := x.steps(step); err != nil {
			return err
		}
		time.Sleep(running)
		if err := x.cancelStep(step.GetId(), pluginv1.CancelReason_CANCEL_REASON_REQUESTED); err != nil {
			return err
		}
		const hint = "tell the handler, and answer when it has returned"
		if err := x.await(ctx); err != nil {
			return violated("one Result for the cancelled step", err.Error(), hint)
		}
		if took := time.Since(began); took > max(s.took*3/4, slow*3/4) {
			return violated(fmt.Sprintf("a Result well before the %v that the step takes", s.took.Round(time.Millisecond)),
				took.Round(time.Millisecond).String(), hint)
		}
		return nil
	})
}
