package sdk_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
)

// Steps share goroutines, and nobody may notice: whatever some steps of a batch
// do, the others run and their results are sent.
func TestStepsOfABatchAreIndependent(t *testing.T) {
	t.Parallel()
	const quick, waits, exits = 0, 1, 2
	patterns := [][]int{{quick}, {waits}, {exits}, {waits, quick}, {quick, waits}, {quick, quick, waits}, {exits, waits, quick, quick}}
	for range 60 {
		pattern := make([]int, 1+rand.N(40))
		for i := range pattern {
			pattern[i] = rand.N(3)
		}
		patterns = append(patterns, pattern)
	}
	for _, limit := range []int{0, 50} {
		release := make(chan struct{})
		h := startHost(t, sdk.MaxConcurrency(limit), sdk.HandleRaw("s", func(_ context.Context, in []byte) ([]byte, error) {
			switch in[0] - '0' {
			case waits:
				<-release
			case exits:
				runtime.Goexit()
			}
			return nil, nil
		}))
		s := h.open()
		for _, pattern := range patterns {
			var steps []*pluginv1.Step
			waiting := 0
			for i, kind := range pattern {
				steps = append(steps, &pluginv1.Step{Id: uint64(i + 1), Step: "s", Input: fmt.Append(nil, kind)})
				if kind == waits {
					waiting++
				}
			}
			s.send(steps...)
			for id, r := range s.resultsByID(len(steps) - waiting) {
				require.Equal(t, pattern[id-1] == exits, r.GetFailure() != nil, "%v", r)
			}
			for range waiting {
				release <- struct{}{} // all of them run
			}
			s.resultsByID(waiting)
		}
		s.drain()
	}
}

// A queue that is never empty does not grow for ever.
func TestStepsThatAlwaysWaitTakeLittleRoom(t *testing.T) {
	t.Parallel()
	for _, waiting := range []int{1, 2, 7, 100} {
		ids, room := sdk.CrewTakes(10_000, waiting)
		require.Len(t, ids, 10_000)
		for n, id := range ids {
			require.EqualValues(t, n, id, "in the order of their arrival")
		}
		require.LessOrEqual(t, room, 8*waiting)
	}
}

// Steps of a batch share allocations; one that runs for long must not hold on to
// the inputs of those that have ended.
func TestLongStepDoesNotHoldItsNeighboursInputs(t *testing.T) {
	t.Parallel()
	const steps = 16
	inputs := make(chan weak.Pointer[byte], steps)
	release := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(release) })
	defer goOn() // a failed test, too, waits for its handlers
	h := startHost(t, sdk.HandleRaw("s", func(_ context.Context, in []byte) ([]byte, error) {
		if in[0] == 'w' {
			<-release
			return nil, nil
		}
		inputs <- weak.Make(&in[0])
		return nil, nil
	}))
	s := h.open()
	s.send(func() (batch []*pluginv1.Step) {
		for n := range steps {
			input := bytes.Repeat([]byte{'q'}, 60_000)
			if n == steps/2 {
				input[0] = 'w'
			}
			batch = append(batch, &pluginv1.Step{Id: uint64(n + 1), Step: "s", Input: input})
		}
		return batch
	}()...)
	s.resultsByID(steps - 1)
	for range steps - 1 {
		input := await(t, inputs)
		require.Eventually(t, func() bool {
			runtime.GC()
			return input.Value() == nil
		}, patience, time.Millisecond, "the input of a step that has ended is still there")
	}
	goOn()
	s.resultsByID(1)
	s.drain()
}

// A context is made when a handler first looks at it, and tells the same as if it
// had been there from the beginning.
func TestHandlersThatLookAtTheirContextLate(t *testing.T) {
	t.Parallel()
	left, look, looked := make(chan struct{}), make(chan struct{}), make(chan error)
	h := startHost(t,
		sdk.HandleRaw("slow", func(ctx context.Context, _ []byte) ([]byte, error) {
			deadline, _ := ctx.Deadline()
			time.Sleep(time.Until(deadline) + time.Millisecond)
			return nil, context.Cause(ctx)
		}, sdk.Timeout(5*time.Millisecond)),
		sdk.HandleRaw("cancelled", func(ctx context.Context, _ []byte) ([]byte, error) {
			left <- struct{}{}
			<-look
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			<-child.Done()
			return nil, context.Cause(child)
		}),
		sdk.HandleRaw("leftover", func(ctx context.Context, _ []byte) ([]byte, error) {
			go func() {
				<-look
				<-ctx.Done()
				looked <- ctx.Err()
			}()
			return nil, nil
		}))

	r := h.callStep("slow", `{}`)
	require.Equal(t, sdk.ErrTimeout.Error(), r.GetFailure().GetMessage())
	require.Equal(t, protocol.FailureTimeout, r.GetFailure().GetType())

	s := h.open()
	s.send(&pluginv1.Step{Id: 7, Step: "cancelled", Input: []byte(`{}`)})
	await(t, left)
	s.sendCancel(7, pluginv1.CancelReason_CANCEL_REASON_DRAINING)
	s.send(&pluginv1.Step{Id: 8, Step: "leftover", Input: []byte(`{}`)})
	require.EqualValues(t, 8, s.result().GetId()) // so the cancellation has been taken
	close(look)
	require.Equal(t, sdk.ErrDraining.Error(), s.result().GetFailure().GetMessage())
	require.ErrorIs(t, await(t, looked), context.Canceled)
	s.drain()
}
