package supervisor_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// suspects have the steps of one turn.
type suspects struct {
	*sink
	steps   []*pluginv1.Step
	limit   int
	turned  chan struct{}
	refused chan error
}

func (s *suspects) Turn(limit int) []*pluginv1.Step {
	s.limit = limit
	close(s.turned)
	return s.steps
}

func (s *suspects) Refused(cause error) { s.refused <- cause }

// apart asks for a turn of such steps.
func (b *bench) apart(fresh bool, names ...string) *suspects {
	s := &suspects{sink: newSink(), turned: make(chan struct{}), refused: make(chan error, 1)}
	for _, name := range names {
		s.steps = append(s.steps, newStep(name, ""))
	}
	b.Apart(s, fresh)
	return s
}

func (s *suspects) awaitTurn(t *testing.T) {
	t.Helper()
	select {
	case <-s.turned:
	case err := <-s.refused:
		require.NoError(t, err)
	case <-time.After(patience):
		require.FailNow(t, "no turn")
	}
}

func (s *suspects) awaitRefusal(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.refused:
		return err
	case <-time.After(patience):
		require.FailNow(t, "no refusal")
		return nil
	}
}

// probation is its status, which must be there.
func (b *bench) probation(t *testing.T) supervisor.InstanceStatus {
	t.Helper()
	all := b.Status().Instances
	last := all[len(all)-1]
	require.True(t, last.Probation)
	return last
}

func TestCrashInProbationIsNobodyElsesAffair(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	ids, ordinary := b.holding(t, 1)
	require.Len(t, b.Status().Instances, 1, "there is no probation before it is needed")

	s := b.apart(false, "hold", "sigkill")
	s.awaitTurn(t)
	require.Equal(t, 7, s.limit, "what the plugin wants in flight")
	for range 2 {
		var crash *supervisor.CrashError
		require.ErrorAs(t, s.next(t).lost, &crash)
		require.Equal(t, 2, crash.InFlight)
		require.False(t, crash.Alone())
		require.NotEqual(t, b.pid(), crash.PID)
	}
	// A back-off of hours would keep the next one waiting.
	lone := b.apart(true, "sigkill")
	var crash *supervisor.CrashError
	require.ErrorAs(t, lone.next(t).lost, &crash)
	require.True(t, crash.Alone())

	b.awaitStatus(t, func(s supervisor.Status) bool { return s.Instances[1].State == supervisor.StateBackingOff })
	status := b.Status()
	require.Equal(t, supervisor.StateReady, status.State)
	require.Zero(t, status.Breaker.Crashes)
	require.Zero(t, status.Crashes)
	require.Zero(t, status.Restarts)
	require.Equal(t, 1, status.Ready())
	require.Equal(t, 1, b.probation(t).Instance)
	require.Contains(t, b.probation(t).LastError, "SIGKILL")
	require.Empty(t, ordinary.answers)
	b.Cancel(ids, pluginv1.CancelReason_CANCEL_REASON_TIMEOUT)
	require.NotNil(t, ordinary.next(t).result)
}

func TestTurnsAreGivenOneAfterTheOther(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	first := b.apart(false, "hold")
	first.awaitTurn(t)
	first.beat(t)
	pid := b.probation(t).PID
	second, none, third := b.apart(false, "echo"), b.apart(false), b.apart(true, "hold")
	require.Equal(t, 1, b.probation(t).InFlight)
	b.Cancel([]uint64{first.steps[0].GetId()}, pluginv1.CancelReason_CANCEL_REASON_TIMEOUT)
	require.Equal(t, "cancelled", first.next(t).result.GetFailure().GetType())
	require.NotNil(t, second.next(t).result)
	none.awaitTurn(t)
	third.beat(t)
	require.NotEqual(t, pid, b.probation(t).PID, "it asked for a fresh process")
	awaitGone(t, pid)
	require.Equal(t, 1, b.probation(t).Restarts)
}

func TestProbationThatCannotBeStartedRefuses(t *testing.T) {
	t.Parallel()
	s := spec(t, "exit-unless-file")
	s.Env["ARG"] = filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(s.Env["ARG"], nil, 0o600))
	b := startReady(t, s)
	require.NoError(t, os.Remove(s.Env["ARG"]))
	var start *supervisor.StartError
	require.ErrorAs(t, b.apart(false, "echo").awaitRefusal(t), &start)
	b.echoes(t)
	require.Zero(t, b.Status().Breaker.Crashes)
	require.NoError(t, os.WriteFile(s.Env["ARG"], nil, 0o600))
	require.NotNil(t, b.apart(false, "echo").next(t).result)
}

func TestTrippedPluginGivesNoTurns(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Restart.MaxCrashes = 1
	b := startReady(t, s)
	first := b.apart(false, "hold")
	first.beat(t)
	waits := b.apart(false, "echo")
	require.Error(t, b.run(t, "sigkill", "").lost)
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateTripped })
	require.ErrorContains(t, b.apart(false, "echo").awaitRefusal(t), "tripped")
	require.ErrorContains(t, waits.awaitRefusal(t), "tripped")
	b.Cancel([]uint64{first.steps[0].GetId()}, pluginv1.CancelReason_CANCEL_REASON_TIMEOUT)
	require.NotNil(t, first.next(t).result, "who has a turn may finish it")
}

func TestIdleProbationIsStopped(t *testing.T) {
	t.Parallel()
	log := &logBuffer{}
	d := deps(t, log)
	clock := newHandClock()
	d.Clock = clock
	b := startWith(t, spec(t, ""), d, log)
	b.awaitReady(t)
	require.NotNil(t, b.apart(false, "echo").next(t).result)
	pid := b.probation(t).PID
	require.Equal(t, 10*time.Second, clock.wait(t))
	clock.advance(10 * time.Second)
	awaitGone(t, pid)
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.Instances[1].State == supervisor.StateStopped })
}

func TestDrainWaitsForTheTurnAndRefusesTheOthers(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	s := b.apart(false, "hold")
	s.beat(t)
	waits := b.apart(false, "echo")
	drained := make(chan error, 1)
	go func() { drained <- b.Drain(context.Background()) }()
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateDraining })
	require.Error(t, waits.awaitRefusal(t))
	require.Empty(t, drained)
	b.Cancel([]uint64{s.steps[0].GetId()}, pluginv1.CancelReason_CANCEL_REASON_DRAINING)
	require.NotNil(t, s.next(t).result)
	require.NoError(t, <-drained)
	require.Error(t, b.apart(false, "echo").awaitRefusal(t))
}

func TestStopLosesTheTurn(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	s := b.apart(false, "hold")
	s.beat(t)
	pid := b.probation(t).PID
	waits := b.apart(false, "echo")
	stop(t, b.Plugin)
	requireBystander(t, s.next(t).lost)
	require.ErrorIs(t, waits.awaitRefusal(t), supervisor.ErrStopped)
	awaitGone(t, pid)
}

func TestHandlerThatHangsInProbationCostsItsProcess(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	s := b.apart(false, "hold")
	s.beat(t)
	pid := b.probation(t).PID
	b.Abandon([]uint64{s.steps[0].GetId()}, errHung)
	var hang *supervisor.HangError
	require.ErrorAs(t, s.next(t).lost, &hang)
	awaitGone(t, pid)
	require.NotNil(t, b.apart(false, "echo").next(t).result, "the next turn has another process")
	require.Equal(t, 1, b.Status().Ready())
}

func TestCrashedProbationIsNoticedWhileItIsIdle(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	require.NotNil(t, b.apart(false, "echo").next(t).result)
	require.NoError(t, syscall.Kill(b.probation(t).PID, syscall.SIGKILL))
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.Instances[1].State == supervisor.StateBackingOff })
	require.NotNil(t, b.apart(false, "echo").next(t).result)
}

// exclusive is a plugin that must not have two processes.
func exclusive(t *testing.T, instances int) *bench {
	t.Helper()
	s := quickRestart(t, "")
	s.Swap = supervisor.SwapStopFirst
	s.Instances = instances
	s.Restart.MaxCrashes = 1
	b := start(t, s)
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.Ready() == instances })
	return b
}

func TestSuspectsOfAnExclusivePluginHaveItsProcessForThemselves(t *testing.T) {
	t.Parallel()
	b := exclusive(t, 1)
	ids, ordinary := b.holding(t, 1)
	s := b.apart(true, "hold", "sigkill")
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateDraining })
	require.Equal(t, "suspects of a crash run alone", b.Status().Reason)
	require.True(t, b.run(t, "echo", "").returned, "it takes no other steps")
	select {
	case <-s.turned:
		require.Fail(t, "an ordinary step is with the process")
	default:
	}
	b.Cancel(ids, pluginv1.CancelReason_CANCEL_REASON_TIMEOUT)
	require.NotNil(t, ordinary.next(t).result)
	var crash *supervisor.CrashError
	require.ErrorAs(t, s.next(t).lost, &crash)
	require.Equal(t, 2, crash.InFlight)
	b.awaitReady(t)
	require.Zero(t, b.Status().Breaker.Crashes, "one crash would have tripped it")
	require.Len(t, b.Status().Instances, 1)
	require.NotNil(t, b.apart(false, "echo").next(t).result)
	b.awaitReady(t)
	b.echoes(t)
}

func TestPoolOfAnExclusivePluginLendsOneProcess(t *testing.T) {
	t.Parallel()
	b := exclusive(t, 2)
	s := b.apart(false, "hold")
	s.beat(t)
	require.Equal(t, supervisor.StateReady, b.Status().State)
	b.echoes(t)
	b.Cancel([]uint64{s.steps[0].GetId()}, pluginv1.CancelReason_CANCEL_REASON_TIMEOUT)
	require.NotNil(t, s.next(t).result)
}

func TestCrashBeforeALoanIsOrdinary(t *testing.T) {
	t.Parallel()
	b := exclusive(t, 1)
	b.holding(t, 1)
	s := b.apart(false, "echo")
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateDraining })
	require.NoError(t, syscall.Kill(b.pid(), syscall.SIGKILL))
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateTripped })
	require.Error(t, s.awaitRefusal(t))
}
