package supervisor_test

import (
	"errors"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/supervisor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

var errHung = errors.New(`handler "hold" has ignored its cancellation`)

// holding dispatches steps that hold until they are cancelled, and waits until
// they run.
func (b *bench) holding(t *testing.T, n int) (ids []uint64, s *sink) {
	t.Helper()
	s = newSink()
	var steps []*pluginv1.Step
	for range n {
		steps = append(steps, newStep("hold", ""))
		ids = append(ids, steps[len(steps)-1].GetId())
	}
	b.Dispatch(steps, s)
	for range n {
		s.beat(t)
	}
	return ids, s
}

func (b *bench) pid() int { return b.Status().Instances[0].PID }

// replaced waits for a process that is not the old one.
func (b *bench) replaced(t *testing.T, old int) supervisor.Status {
	t.Helper()
	return b.awaitStatus(t, func(s supervisor.Status) bool {
		pid := s.Instances[0].PID
		return s.State == supervisor.StateReady && pid != 0 && pid != old
	})
}

// TestHungHandlerCostsItsProcess has a clock that stands still: nothing waits
// for a back-off.
func TestHungHandlerCostsItsProcess(t *testing.T) {
	t.Parallel()
	s := spec(t, "grandchild")
	s.Env["ARG"] = filepath.Join(t.TempDir(), "pid")
	s.Timeouts.Retire = time.Hour
	log := &logBuffer{}
	d := deps(t, log)
	d.Clock = newHandClock()
	b := startWith(t, s, d, log)
	b.awaitReady(t)
	old := b.pid()
	grandchild := pidIn(t, s.Env["ARG"])

	ids, sk := b.holding(t, 2)
	hung, other := ids[0], ids[1]
	b.Abandon([]uint64{hung, 1 << 60}, errHung)
	b.Abandon([]uint64{hung}, errors.New("said twice"))
	status := b.replaced(t, old)
	require.EqualValues(t, 1, status.Hangs)
	require.Zero(t, status.Crashes)
	require.Equal(t, 1, status.Breaker.Crashes)
	require.EqualValues(t, 1, status.Restarts)
	require.Contains(t, status.Reason, errHung.Error())
	b.echoes(t)
	require.NoError(t, syscall.Kill(old, 0), "the old process is spared for the other step")
	require.Empty(t, sk.answers)
	require.Equal(t, []supervisor.ReplacedStatus{{PID: old, InFlight: 2, Reason: errHung.Error()}}, b.Status().Replaced)

	// The other step can still be reached, and then nothing keeps the process.
	b.Cancel([]uint64{other}, pluginv1.CancelReason_CANCEL_REASON_TIMEOUT)
	answered := sk.next(t)
	require.Equal(t, other, answered.id)
	require.Equal(t, "cancelled", answered.result.GetFailure().GetType())
	lost := sk.next(t)
	require.Equal(t, hung, lost.id)
	var hang *supervisor.HangError
	require.ErrorAs(t, lost.lost, &hang)
	require.ErrorIs(t, lost.lost, errHung)
	require.Equal(t, old, hang.PID)
	awaitGone(t, old)
	awaitGone(t, grandchild)
	require.Contains(t, log.await(t, "a handler hangs"), strconv.Itoa(old))
	status = b.awaitStatus(t, func(s supervisor.Status) bool { return len(s.Replaced) == 0 })
	require.EqualValues(t, 1, status.Restarts)
}

// TestHungHandlerOfAnExclusivePlugin has a plugin of which no two processes
// must run.
func TestHungHandlerOfAnExclusivePlugin(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Swap = supervisor.SwapStopFirst
	s.Timeouts.Retire = time.Hour
	b := startReady(t, s)
	old := b.pid()
	ids, sk := b.holding(t, 2)
	b.Abandon(ids[:1], errHung)
	status := b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateBackingOff })
	require.Contains(t, status.Reason, errHung.Error())
	require.NoError(t, syscall.Kill(old, 0), "the old process is spared for the other step")
	require.True(t, b.run(t, "echo", "").returned)
	require.Zero(t, b.Status().Restarts, "no other one is started meanwhile")

	b.Cancel(ids[1:], pluginv1.CancelReason_CANCEL_REASON_TIMEOUT)
	require.NotNil(t, sk.next(t).result)
	require.Error(t, sk.next(t).lost)
	b.replaced(t, old)
	awaitGone(t, old)
	b.echoes(t)
}

func TestBystandersThatDoNotFinishAreLostWithoutBlame(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Timeouts.Retire = 50 * time.Millisecond
	b := startReady(t, s)
	old := b.pid()
	ids, sk := b.holding(t, 3)
	b.Abandon(ids[:1], errHung)
	for range ids {
		lost := sk.next(t).lost
		var crash *supervisor.CrashError
		require.False(t, errors.As(lost, &crash))
		var hang *supervisor.HangError
		require.ErrorAs(t, lost, &hang)
		require.True(t, hang.Bystander())
	}
	awaitGone(t, old)
	b.replaced(t, old)
	b.echoes(t)
}

func TestStepsOfAnUnknownProcessAreNotAbandoned(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	old := b.pid()
	b.Abandon([]uint64{1 << 60}, errHung)
	b.echoes(t)
	require.Equal(t, old, b.pid())
	require.Zero(t, b.Status().Hangs)
}

func TestMessagesThatHangOneAfterTheOtherTrip(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Restart = supervisor.Restart{MaxCrashes: 3, Window: time.Minute}
	log := &logBuffer{}
	d := deps(t, log)
	clock := newHandClock()
	d.Clock = clock
	b := startWith(t, s, d, log)
	for n := range 3 {
		b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateReady && s.Restarts == uint64(n) })
		ids, sk := b.holding(t, 1)
		b.Abandon(ids, &processor.HungHandlerError{Namespace: "ns", Step: "hold", MessageID: int64(n)})
		require.Error(t, sk.next(t).lost)
	}
	require.Equal(t, time.Minute, clock.wait(t))
	status := b.Status()
	require.Equal(t, supervisor.StateTripped, status.State)
	require.Contains(t, status.Reason, "3 crashes within 1m0s")
	require.Contains(t, status.Reason, `handler "hold" has ignored its cancellation`)
}

// TestOneMessageThatHangsAgainAndAgain must not pause the others.
func TestOneMessageThatHangsAgainAndAgain(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Restart = supervisor.Restart{MaxCrashes: 2, Window: time.Hour}
	b := startReady(t, s)
	for n := range 4 {
		status := b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateReady && s.Restarts == uint64(n) })
		require.EqualValues(t, n, status.Hangs)
		ids, sk := b.holding(t, 1)
		b.Abandon(ids, &processor.HungHandlerError{Namespace: "ns", Step: "hold", MessageID: 7})
		require.Error(t, sk.next(t).lost)
	}
	b.awaitReady(t)
	require.Equal(t, 1, b.Status().Breaker.Crashes)
}

func TestProcessThatCrashesWhileItIsReplaced(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Timeouts.Retire = time.Hour
	b := startReady(t, s)
	old := b.pid()
	ids, sk := b.holding(t, 2)
	b.Abandon(ids[:1], errHung)
	b.replaced(t, old)
	require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
	for range ids {
		require.ErrorContains(t, sk.next(t).lost, "SIGKILL")
	}
	b.echoes(t)
	require.EqualValues(t, 1, b.Status().Restarts)
}

func TestStopAndDrainReachAProcessThatIsReplaced(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Timeouts.Retire = time.Hour
	b := startReady(t, s)
	old := b.pid()
	ids, sk := b.holding(t, 2)
	b.Abandon(ids[:1], errHung)
	b.replaced(t, old)

	drained := make(chan error, 1)
	go func() { drained <- b.Drain(t.Context()) }()
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateDraining })
	require.NoError(t, syscall.Kill(old, 0))
	require.Empty(t, drained, "the other step is waited for")
	stop(t, b.Plugin)
	require.NoError(t, <-drained)
	for range ids {
		require.Error(t, sk.next(t).lost)
	}
	awaitGone(t, old)
}

func TestHangInAPoolCostsOneProcess(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Instances = 2
	b := start(t, s)
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.Ready() == 2 })
	ids, sk := b.holding(t, 2)
	b.Abandon(ids[:1], errHung)
	require.Equal(t, ids[0], sk.next(t).id)
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.Ready() == 2 && s.Restarts == 1 })
	b.Cancel(ids[1:], pluginv1.CancelReason_CANCEL_REASON_TIMEOUT)
	require.NotNil(t, sk.next(t).result)
}
