package conformance

import (
	"context"
	"fmt"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

func drainClauses() []Clause {
	return []Clause{{
		ID: "drain.idle", Severity: Must, needs: "execute.answers",
		Title:  "ends a stream that the host half-closes",
		Demand: "The host's half-close means drain. With nothing left to answer the plugin ends the stream with status OK.",
		check: func(ctx context.Context, k *kit) error {
			return k.drained(ctx, func(*exchange, Sample) error { return nil })
		},
	}, {
		ID: "drain.queued", Severity: Must, needs: "execute.answers",
		Title:  "answers what is in flight before it ends the stream",
		Demand: "Steps that have not started when the half-close comes may come back as not accepted; all are answered, and then the stream ends.",
		check: func(ctx context.Context, k *kit) error {
			return k.drained(ctx, func(x *exchange, s Sample) error { return x.steps(k.newSteps(s, 50)...) })
		},
	}, {
		ID: "drain.running", Severity: Must, needs: "execute.answers",
		Title:  "lets running steps finish",
		Demand: "A step that runs when the half-close comes goes on to its end and is answered with what it achieved.",
		check:  checkDrainRunning,
	}, {
		ID: "drain.others", Severity: Must, needs: "execute.answers",
		Title:  "takes new streams after one has been drained",
		Demand: "A half-close drains its stream and not the process.",
		check: func(ctx context.Context, k *kit) error {
			err := k.drained(ctx, func(x *exchange, s Sample) error { return x.run(ctx, k.newStep(s)) })
			if err != nil {
				return err
			}
			return k.runQuick(ctx, func(s *pluginv1.Step) []*pluginv1.Step { return []*pluginv1.Step{s} })
		},
	}}
}

// drained half-closes a stream after f and demands a good end.
func (k *kit) drained(ctx context.Context, f func(*exchange, Sample) error) error {
	return k.withStream(ctx, func(x *exchange, s Sample) error {
		if err := f(x, s); err != nil {
			return err
		}
		x.halfClose()
		return x.awaitEnd(ctx)
	})
}

func checkDrainRunning(ctx context.Context, k *kit) error {
	s, err := k.slowest(ctx)
	if err != nil {
		return err
	}
	if !s.completed {
		return skip(fmt.Sprintf("no step that runs for %v ends by itself within %v", slow, sampleTimeout))
	}
	var step *pluginv1.Step
	return k.drained(ctx, func(x *exchange, _ Sample) error {
		step = k.newStep(s.Sample)
		if err := x.steps(step); err != nil {
			return err
		}
		time.Sleep(running)
		x.halfClose()
		if err := x.await(ctx); err != nil {
			return err
		}
		if refused := x.answer(step).GetNotAccepted(); refused != nil {
			return violated("the outcome of a step that was running", "not accepted: "+refused.GetReason(),
				"let handlers that have started return, and wait for them before the stream ends")
		}
		return nil
	})
}
