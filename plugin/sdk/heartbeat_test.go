package sdk_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
)

func TestHeartbeat(t *testing.T) {
	t.Parallel()

	next := make(chan sdk.Progress)
	h := startHost(t, sdk.HandleRaw("s", func(ctx context.Context, _ []byte) ([]byte, error) {
		for p := range next {
			if err := sdk.Heartbeat(ctx, p); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}))
	s := h.open()
	s.send(step(5))
	for _, tc := range []struct {
		given sdk.Progress
		want  float64
	}{
		{sdk.Progress{Fraction: 0.25, Message: "a quarter\x00"}, 0.25},
		{sdk.Progress{Fraction: 1}, 1},
		{sdk.Progress{Fraction: 1.5}, -1},
		{sdk.Progress{Fraction: math.NaN()}, -1},
		{sdk.Progress{Fraction: -3}, -1},
	} {
		next <- tc.given
		b := s.heartbeat()
		require.EqualValues(t, 5, b.GetId())
		require.InDelta(t, tc.want, b.GetFraction(), 0)
		if tc.given.Message != "" {
			require.Equal(t, "a quarter\uFFFD", b.GetMessage())
		}
	}
	close(next)
	require.NotNil(t, s.result().GetSuccess())
	s.drain()
}

func TestHeartbeatTellsTheCause(t *testing.T) {
	t.Parallel()

	running := make(chan struct{})
	s := startHost(t, sdk.HandleRaw("s", func(ctx context.Context, _ []byte) ([]byte, error) {
		close(running)
		<-ctx.Done()
		return nil, sdk.Heartbeat(ctx, sdk.Progress{})
	})).open()
	s.send(step(1))
	await(t, running)
	s.sendCancel(1, pluginv1.CancelReason_CANCEL_REASON_LEASE_LOST)
	require.Equal(t, sdk.ErrLeaseLost.Error(), s.result().GetFailure().GetMessage())
	require.Empty(t, s.beats)
	s.drain()
}

// A goroutine that a handler left behind must not reach into the stream.
func TestStepThatHasEndedTakesNothing(t *testing.T) {
	t.Parallel()

	contexts := make(chan context.Context, 1)
	h := startHost(t, sdk.HandleRaw("s", func(ctx context.Context, _ []byte) ([]byte, error) {
		contexts <- ctx
		return nil, nil
	}))
	for _, timeoutMs := range []int64{0, 60_000} {
		h.call(&pluginv1.Step{Id: 1, Step: "s", TimeoutMs: timeoutMs})
		ctx := await(t, contexts)
		await(t, ctx.Done())
		for what, err := range map[string]error{
			"heartbeat": sdk.Heartbeat(ctx, sdk.Progress{}),
			"emit":      errors.Unwrap(sdk.Emit(ctx, sdk.ToQueue("q"), 1)),
		} {
			require.EqualError(t, err, "step has ended", what)
		}
	}
	require.EqualError(t, sdk.Heartbeat(t.Context(), sdk.Progress{}), "context does not belong to a step")
	require.EqualError(t, sdk.Emit(t.Context(), sdk.ToQueue("q"), 1), "emit: context does not belong to a step")
	require.Zero(t, sdk.StepInfo(t.Context()))
}
