package sdk_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
)

// untilEnd returns a handler that says when it runs, waits for the end of its
// context and returns the cause.
func untilEnd() (handler func(context.Context, []byte) ([]byte, error), running chan uint64) {
	running = make(chan uint64, 100)
	return func(ctx context.Context, _ []byte) ([]byte, error) {
		running <- uint64(sdk.StepInfo(ctx).MessageID)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}, running
}

// step is a delivery whose message id is its own id.
func step(id uint64) *pluginv1.Step {
	return &pluginv1.Step{Id: id, Step: "s", Input: []byte(`{}`), MessageId: int64(id), Attempt: 1}
}

func TestCancellation(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		reason      pluginv1.CancelReason
		cause       error
		failureType string
	}{
		"lease lost":  {pluginv1.CancelReason_CANCEL_REASON_LEASE_LOST, sdk.ErrLeaseLost, protocol.FailureCancelled},
		"timeout":     {pluginv1.CancelReason_CANCEL_REASON_TIMEOUT, sdk.ErrTimeout, protocol.FailureTimeout},
		"draining":    {pluginv1.CancelReason_CANCEL_REASON_DRAINING, sdk.ErrDraining, protocol.FailureCancelled},
		"requested":   {pluginv1.CancelReason_CANCEL_REASON_REQUESTED, sdk.ErrCancelled, protocol.FailureCancelled},
		"unspecified": {pluginv1.CancelReason_CANCEL_REASON_UNSPECIFIED, sdk.ErrCancelled, protocol.FailureCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler, running := untilEnd()
			s := startHost(t, sdk.HandleRaw("s", handler)).open()
			s.send(step(1), step(2))
			await(t, running)
			await(t, running)

			s.sendCancel(1, tc.reason)
			first := s.result()
			require.EqualValues(t, 1, first.GetId(), "another step was cancelled")
			require.Equal(t, tc.cause.Error(), first.GetFailure().GetMessage())
			require.Equal(t, tc.failureType, first.GetFailure().GetType())
			require.Equal(t, pluginv1.FailureVerdict_FAILURE_VERDICT_UNSPECIFIED, first.GetFailure().GetVerdict())

			s.sendCancel(2, tc.reason)
			require.EqualValues(t, 2, s.result().GetId())
			s.drain()
		})
	}
}

func TestCancellationFromAnotherStream(t *testing.T) {
	t.Parallel()

	handler, running := untilEnd()
	h := startHost(t, sdk.HandleRaw("s", handler))
	s, other := h.open(), h.open()
	s.send(step(1))
	await(t, running)
	other.sendCancel(1, pluginv1.CancelReason_CANCEL_REASON_DRAINING)
	require.Equal(t, sdk.ErrDraining.Error(), s.result().GetFailure().GetMessage())
	other.drain()
	s.drain()
}

func TestCancellationOfUnknownStepIsIgnored(t *testing.T) {
	t.Parallel()

	s := startHost(t, sdk.HandleRaw("s", noop)).open()
	s.sendCancel(7, pluginv1.CancelReason_CANCEL_REASON_REQUESTED)
	s.send(step(1))
	require.NotNil(t, s.result().GetSuccess())
	s.drain()
}

func TestTimeout(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		namespace time.Duration
		own       []sdk.HandlerOption
		want      time.Duration
	}{
		"the namespace's":             {namespace: time.Millisecond, want: time.Millisecond},
		"the handler's":               {own: []sdk.HandlerOption{sdk.Timeout(time.Millisecond)}, want: time.Millisecond},
		"the handler's, when shorter": {namespace: time.Hour, own: []sdk.HandlerOption{sdk.Timeout(time.Millisecond)}, want: time.Millisecond},
		"the namespace's when shorter": {
			namespace: time.Millisecond, own: []sdk.HandlerOption{sdk.Timeout(time.Hour)}, want: time.Millisecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deadlines := make(chan time.Time, 1)
			started := time.Now()
			r := startHost(t, sdk.HandleRaw("s", func(ctx context.Context, _ []byte) ([]byte, error) {
				deadlines <- sdk.StepInfo(ctx).Deadline
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}, tc.own...)).call(&pluginv1.Step{Id: 1, Step: "s", TimeoutMs: tc.namespace.Milliseconds()})
			require.Equal(t, protocol.FailureTimeout, r.GetFailure().GetType())
			require.Equal(t, sdk.ErrTimeout.Error(), r.GetFailure().GetMessage())
			require.WithinRange(t, await(t, deadlines), started.Add(tc.want), time.Now().Add(tc.want))
		})
	}
}

func TestOutcomeAfterTimeout(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		err   error
		check func(*testing.T, *pluginv1.Result)
	}{
		"success stands": {nil, func(t *testing.T, r *pluginv1.Result) {
			require.NotNil(t, r.GetSuccess())
		}},
		"a verdict stands": {sdk.Snooze(time.Second), func(t *testing.T, r *pluginv1.Result) {
			require.EqualValues(t, 1000, r.GetSnooze().GetDelayMs())
		}},
		"any error is a timeout": {context.DeadlineExceeded, func(t *testing.T, r *pluginv1.Result) {
			require.Equal(t, protocol.FailureTimeout, r.GetFailure().GetType())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.check(t, startHost(t, sdk.HandleRaw("s", func(ctx context.Context, _ []byte) ([]byte, error) {
				<-ctx.Done()
				return nil, tc.err
			}, sdk.Timeout(time.Millisecond))).callStep("s", `{}`))
		})
	}
}
