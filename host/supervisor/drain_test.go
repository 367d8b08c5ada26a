package supervisor_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

func TestDrainLetsStepsFinish(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	s := newSink()
	held := newStep("hold", "")
	b.Dispatch([]*pluginv1.Step{held}, s)
	s.beat(t)

	drained := make(chan error, 1)
	go func() { drained <- b.Drain(t.Context()) }()
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateDraining })
	require.True(t, b.run(t, "echo", "").returned)
	s.beat(t)

	// A drain deadline cancels what still runs, although the streams are
	// half-closed by now.
	b.Cancel([]uint64{held.GetId()}, pluginv1.CancelReason_CANCEL_REASON_DRAINING)
	require.Equal(t, "cancelled", s.next(t).result.GetFailure().GetType())
	require.NoError(t, <-drained)
	require.Empty(t, s.answers)
}

func TestDrainHasADeadline(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	s := newSink()
	b.Dispatch([]*pluginv1.Step{newStep("hold", "")}, s)
	s.beat(t)
	enough := errors.New("drain deadline")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	err := b.Drain(ctx)
	require.ErrorIs(t, err, enough)
	require.ErrorContains(t, err, "1 steps are in flight")

	stop(t, b.Plugin)
	requireBystander(t, s.next(t).lost)
}

func TestDrainOutlivesACrash(t *testing.T) {
	t.Parallel()
	b := startReady(t, quickRestart(t, ""))
	s := newSink()
	b.Dispatch([]*pluginv1.Step{newStep("hold", "")}, s)
	s.beat(t)
	pid := b.Status().Instances[0].PID
	drained := make(chan error, 1)
	go func() { drained <- b.Drain(t.Context()) }()
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateDraining })
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.NoError(t, <-drained)
	require.ErrorContains(t, s.next(t).lost, "SIGKILL")
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateStopped })
}

func TestStopDuringStart(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"silent", "hang-describe", "hang-configure"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := spec(t, mode)
			s.Timeouts.Start, s.Timeouts.Configure = patience*10, patience*10
			b := start(t, s)
			stop(t, b.Plugin)
			require.ErrorIs(t, b.WaitReady(t.Context()), supervisor.ErrStopped)
		})
	}
}

func TestCancelStopsAStep(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	s := newSink()
	held := newStep("hold", "")
	b.Dispatch([]*pluginv1.Step{held}, s)
	s.beat(t)
	b.Cancel([]uint64{held.GetId(), 1 << 60}, pluginv1.CancelReason_CANCEL_REASON_TIMEOUT)
	require.Equal(t, "cancelled", s.next(t).result.GetFailure().GetType())
}

func TestDuplicateIDsAreReturned(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	first, second := newSink(), newSink()
	held := newStep("hold", "")
	b.Dispatch([]*pluginv1.Step{held}, first)
	first.beat(t)
	b.Dispatch([]*pluginv1.Step{held}, second)
	require.True(t, second.next(t).returned)
	b.run(t, "release", "")
	require.NotNil(t, first.next(t).result)
}

func TestLargeBodiesTravelToo(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	s := newSink()
	big := `"` + strings.Repeat("b", 20<<20) + `"`
	large, small := newStep("echo", big), newStep("echo", `"s"`)
	b.Dispatch([]*pluginv1.Step{small, large, newStep("echo", `"t"`)}, s)
	for range 3 {
		a := s.next(t)
		if a.id == large.GetId() {
			require.Len(t, a.output(), len(big))
		} else {
			require.Len(t, a.output(), 3)
		}
	}
}

func TestPoolSharesTheLoad(t *testing.T) {
	t.Parallel()
	sp := quickRestart(t, "")
	sp.Instances = 2
	b := startReady(t, sp)
	b.awaitStatus(t, func(s supervisor.Status) bool {
		return s.Instances[0].State == supervisor.StateReady && s.Instances[1].State == supervisor.StateReady
	})
	require.Equal(t, 14, b.State().MaxConcurrency)
	s := newSink()
	var steps []*pluginv1.Step
	for range 10 {
		steps = append(steps, newStep("hold", ""))
	}
	b.Dispatch(steps, s)
	for range steps {
		s.beat(t)
	}
	for _, i := range b.Status().Instances {
		require.Equal(t, 5, i.InFlight)
	}

	// A crash takes only its own steps, and the plugin stays ready.
	b.Dispatch([]*pluginv1.Step{newStep("exit", "")}, s)
	for range 6 {
		require.Error(t, s.next(t).lost)
	}
	require.True(t, b.State().Ready)
	b.echoes(t)
}

// requireBystander checks that a step which was lost by a stop spends nothing.
func requireBystander(t *testing.T, lost error) {
	t.Helper()
	require.ErrorIs(t, lost, supervisor.ErrStopped)
	var other interface{ Bystander() bool }
	require.ErrorAs(t, lost, &other)
	require.True(t, other.Bystander())
}

// A large step is still under way to a process that reads slowly, when the
// cancellation passes it on a stream of its own.
func TestCancellationThatOvertakesItsStepIsSentAgain(t *testing.T) {
	t.Parallel()
	body := `"` + strings.Repeat("b", 8<<20) + `"`
	for {
		b := startReady(t, spec(t, ""))
		require.NoError(t, syscall.Kill(b.pid(), syscall.SIGSTOP))
		s := newSink()
		var steps []*pluginv1.Step
		var ids []uint64
		// gRPC takes one that exceeds the stream's window and holds up the sender at
		// the next one, so the third is unsent when the process drains.
		for range 3 {
			steps = append(steps, newStep("hold", body))
			ids = append(ids, steps[len(steps)-1].GetId())
		}
		b.Dispatch(steps, s)
		runtime.Gosched() // mostly the sender is on its way then
		drained := make(chan error, 1)
		go func() { drained <- b.Drain(t.Context()) }()
		require.True(t, s.next(t).returned)
		b.Cancel(ids, pluginv1.CancelReason_CANCEL_REASON_DRAINING)
		require.NoError(t, syscall.Kill(b.pid(), syscall.SIGCONT))
		overtaken := 0
		for range len(steps) - 1 {
			if a := s.next(t); !a.returned {
				require.Equal(t, "cancelled", a.result.GetFailure().GetType())
				overtaken++
			}
		}
		require.NoError(t, <-drained)
		if overtaken > 0 {
			return
		}
	}
}
