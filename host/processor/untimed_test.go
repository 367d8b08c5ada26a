package processor_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/registry"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// debugged is a plugin in a debugger. Its steps tell their timeout.
type debugged struct{ *scripted }

func (x debugged) State() processor.ExecutorState {
	state := x.scripted.State()
	state.Untimed = true
	return state
}

func newDebugged(steps chan *pluginv1.Step) debugged {
	return debugged{newScripted(func(_ context.Context, s *pluginv1.Step) *pluginv1.Result {
		steps <- s
		return succeeded(`null`)
	})}
}

func TestStepOfAPluginInADebuggerHasNoTimeout(t *testing.T) {
	t.Parallel()
	plugin := debugged{newScripted(func(ctx context.Context, s *pluginv1.Step) *pluginv1.Result {
		select {
		case <-ctx.Done():
			return failure("it was cancelled")
		case <-time.After(300 * time.Millisecond):
			return succeeded(`null`)
		}
	})}
	var table registry.Registry
	bind(t, &table, plugin)
	b := setup(t, plugin.scripted, func(o *processor.Options) {
		o.Registry = &table
		o.Lease = time.Second // the keeper looks in twelfths of it
		o.Namespaces[0].Timeout = 20 * time.Millisecond
	})
	b.send(`{}`)
	step := b.settled(1)[0]
	require.Equal(t, processor.OutcomeSucceeded, step.Outcome, step.Err)
}

func TestStepThatGoesOnToAPluginInADebuggerLosesItsTimeout(t *testing.T) {
	t.Parallel()
	steps := make(chan *pluginv1.Step, 1)
	successor := newDebugged(steps)
	var table registry.Registry
	bind(t, &table, leaving{newScripted(succeed), func() { bind(t, &table, successor) }, returned})
	b := setup(t, successor.scripted, func(o *processor.Options) {
		o.Registry = &table
		o.Namespaces[0].Timeout = time.Hour
	})
	b.send(`{}`)
	b.settled(1)
	require.Zero(t, (<-steps).GetTimeoutMs())
}

func TestPluginInADebuggerTakesSuspects(t *testing.T) {
	t.Parallel()
	steps := make(chan *pluginv1.Step, 3)
	plugin := newDebugged(steps)
	plugin.refuse(errors.New("nobody runs apart"))
	var table registry.Registry
	bind(t, &table, plugin)
	b := setup(t, plugin.scripted, func(o *processor.Options) { o.Registry = &table })
	b.suspect(3, 3)
	for _, step := range b.settled(3) {
		require.Equal(t, processor.OutcomeSucceeded, step.Outcome, step.Err)
	}
}
