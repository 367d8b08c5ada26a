package processor_test

import (
	"context"
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

func TestCancellationGoesToThePluginThatHasTheStep(t *testing.T) {
	t.Parallel()
	running := make(chan struct{})
	old := newScripted(func(ctx context.Context, _ *pluginv1.Step) *pluginv1.Result {
		close(running)
		<-ctx.Done()
		return failure(context.Cause(ctx).Error())
	})
	var table registry.Registry
	bind(t, &table, old)
	b := setup(t, old, func(o *processor.Options) {
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
