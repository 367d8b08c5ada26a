package processor_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/registry"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// bind makes a registry point at the plugin.
func bind(t *testing.T, r *registry.Registry, plugin processor.Executor) {
	t.Helper()
	require.NoError(t, r.Refresh([]registry.Binding{{Namespace: "ns", Plugin: "plugin", Executor: plugin}}))
}

// hanging is a plugin whose handlers wait for their cancellation.
func hanging() (plugin *scripted, running chan struct{}) {
	running = make(chan struct{}, 10)
	return newScripted(func(ctx context.Context, _ *pluginv1.Step) *pluginv1.Result {
		running <- struct{}{}
		<-ctx.Done()
		return failure(context.Cause(ctx).Error())
	}), running
}

func TestCancellationGoesToThePluginThatHasTheStep(t *testing.T) {
	t.Parallel()
	had, running := hanging()
	var table registry.Registry
	bind(t, &table, had)
	b := setup(t, had, func(o *processor.Options) {
		o.Registry = &table
		o.Lease = time.Second
		o.Namespaces[0].Timeout = 300 * time.Millisecond
		o.Namespaces[0].Retry.MaxAttempts = 1
	})
	b.send(`{}`)
	<-running

	bind(t, &table, newScripted(succeed))
	step := b.settled(1)[0]
	require.Equal(t, processor.OutcomeDeadLettered, step.Outcome)
	require.Contains(t, step.Err, "TIMEOUT")
}

func TestCancellationGoesToTheSuccessorThatGotTheStep(t *testing.T) {
	t.Parallel()
	var table registry.Registry
	successor, running := hanging()
	bind(t, &table, leaving{newScripted(succeed), func() { bind(t, &table, successor) }, returned})
	b := setup(t, successor, func(o *processor.Options) {
		o.Registry = &table
		o.Namespaces[0].Retry.MaxAttempts = 1
	})
	b.send(`{}`)
	<-running
	bind(t, &table, newScripted(succeed))

	_, err := processor.Do(t.Context(), b.Processor, processor.Recall{Executor: successor})
	require.NoError(t, err)
	require.Contains(t, b.settled(1)[0].Err, "DRAINING")
}

// leaving is a plugin that gives back what it is handed, the way a draining one
// does, after something has happened.
type leaving struct {
	*scripted
	before func()
	back   func(steps []*pluginv1.Step, sink processor.Sink)
}

func (x leaving) Dispatch(steps []*pluginv1.Step, sink processor.Sink) {
	x.before()
	x.back(steps, sink)
}

func returned(steps []*pluginv1.Step, sink processor.Sink) {
	for _, s := range steps {
		sink.Returned([]uint64{s.GetId()})
	}
}

func notAccepted(steps []*pluginv1.Step, sink processor.Sink) {
	for _, s := range steps {
		sink.Results([]*pluginv1.Result{{
			Id: s.GetId(), Outcome: &pluginv1.Result_NotAccepted{NotAccepted: &pluginv1.NotAccepted{Reason: "draining"}},
		}})
	}
}

// TestStepsThatADrainingPluginReturnsGoToItsSuccessor: they are not given back
// to the queue, where they would line up behind all others.
func TestStepsThatADrainingPluginReturnsGoToItsSuccessor(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]func([]*pluginv1.Step, processor.Sink){"returned": returned, "not accepted": notAccepted} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var table registry.Registry
			successor := newScripted(succeed)
			bind(t, &table, leaving{newScripted(succeed), func() { bind(t, &table, successor) }, back})
			b := setup(t, successor, func(o *processor.Options) { o.Registry = &table })

			b.send(`{}`, `{"step": "work"}`, `{}`)
			for _, step := range b.settled(3) {
				require.Equal(t, processor.OutcomeSucceeded, step.Outcome, step.Err)
			}
			require.Equal(t, 3, b.count(`SELECT count(*) FROM pgmq.a_ns_queue WHERE read_ct = 1`))
		})
	}
}

// TestReturnedStepsWithoutSuccessorAreTakenAgainAtOnce: nothing but the lane
// itself looks into the queue here.
func TestReturnedStepsWithoutSuccessorAreTakenAgainAtOnce(t *testing.T) {
	t.Parallel()
	var table registry.Registry
	next := newScripted(succeed)
	next.setReady(false)
	bind(t, &table, leaving{newScripted(succeed), func() { bind(t, &table, next) }, returned})
	b := setup(t, next, func(o *processor.Options) { o.Registry = &table })

	b.send(`{}`)
	require.Equal(t, processor.OutcomeReleased, b.settled(1)[0].Outcome)
	next.setReady(true)
	require.Equal(t, processor.OutcomeSucceeded, b.settled(1)[0].Outcome)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.a_ns_queue WHERE message IS NOT NULL`))
}

// TestReturnedStepsThatMeanSomethingElseNowAreGivenBack, so that they are
// resolved anew.
func TestReturnedStepsThatMeanSomethingElseNowAreGivenBack(t *testing.T) {
	t.Parallel()
	var table registry.Registry
	next := newScripted(func(_ context.Context, s *pluginv1.Step) *pluginv1.Result { return succeeded(`"` + s.GetStep() + `"`) })
	next.handler = "other"
	bind(t, &table, leaving{newScripted(succeed), func() { bind(t, &table, next) }, returned})
	b := setup(t, next, func(o *processor.Options) { o.Registry = &table })

	b.send(`{}`)
	steps := b.settled(2)
	require.Equal(t, processor.OutcomeReleased, steps[0].Outcome)
	require.Equal(t, processor.OutcomeSucceeded, steps[1].Outcome)
	require.Equal(t, "other", steps[1].Step)
}

// TestRecalledStepsCostNothing: they did not fail.
func TestRecalledStepsCostNothing(t *testing.T) {
	t.Parallel()
	old, running := hanging()
	var table registry.Registry
	bind(t, &table, old)
	b := setup(t, old, func(o *processor.Options) {
		o.Registry = &table
		o.Namespaces[0].Retry.MaxAttempts = 1
	})
	b.send(`{}`)
	<-running
	bind(t, &table, newScripted(succeed))

	_, err := processor.Do(t.Context(), b.Processor, processor.Recall{Executor: old})
	require.NoError(t, err)
	steps := b.settled(2)
	require.Equal(t, processor.OutcomeReleased, steps[0].Outcome)
	require.Contains(t, steps[0].Err, "DRAINING")
	require.Equal(t, processor.OutcomeSucceeded, steps[1].Outcome)
}

func TestCancellationThatComesBeforeItsStepIsNotLost(t *testing.T) {
	t.Parallel()
	g := newGate()
	exec := newScripted(g.handle)
	var b *bundle
	built := make(chan struct{})
	var once sync.Once
	b = setup(t, exec, func(o *processor.Options) {
		observe := o.OnStep
		o.OnStep = func(e processor.StepEvent) {
			<-built
			if e.Kind == processor.StepPickedUp {
				once.Do(func() { // it has begun and is not with the plugin yet
					_, _ = processor.Do(context.Background(), b.Processor, processor.Recall{Executor: exec})
				})
			}
			observe(e)
		}
	})
	close(built)
	b.send(`{}`)
	require.Equal(t, processor.OutcomeReleased, b.settled(1)[0].Outcome, "the handler was told to stop")
	close(g.open)
	require.Equal(t, processor.OutcomeSucceeded, b.settled(1)[0].Outcome)
}
