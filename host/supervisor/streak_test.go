package supervisor_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
)

// crashAlone has a message crash the plugin in a turn of its own.
func (b *bench) crashAlone(t *testing.T, clock *handClock, message int64) *supervisor.CrashError {
	t.Helper()
	s := &suspects{sink: newSink(), turned: make(chan struct{}), refused: make(chan error, 1)}
	s.steps = append(s.steps, newStep("sigkill", ""))
	s.steps[0].MessageId = message
	b.Apart(s, true)
	for deadline := time.After(patience); ; {
		select {
		case <-s.turned:
			var crash *supervisor.CrashError
			require.ErrorAs(t, s.next(t).lost, &crash)
			require.Equal(t, 1, crash.InFlight)
			return crash
		case err := <-s.refused:
			require.NoError(t, err)
		case <-deadline:
			require.FailNow(t, "no turn")
		case <-time.After(5 * time.Millisecond):
			clock.advance(100 * time.Millisecond) // the pause between two processes
		}
	}
}

func tripped(s supervisor.Status) bool { return s.State == supervisor.StateTripped }

func ready(s supervisor.Status) bool { return s.State == supervisor.StateReady }

func TestPluginThatCrashesWithEveryMessageTripsAndConvictsNone(t *testing.T) {
	t.Parallel()
	for _, swap := range []supervisor.Swap{supervisor.SwapOverlap, supervisor.SwapStopFirst} {
		t.Run(string(swap), func(t *testing.T) {
			t.Parallel()
			s := spec(t, "")
			s.Swap = swap
			s.Restart = supervisor.Restart{BackoffInitial: time.Millisecond, MaxCrashes: 3, Window: time.Hour}
			log := &logBuffer{}
			d := deps(t, log)
			clock := newHandClock()
			d.Clock = clock
			b := startWith(t, s, d, log)
			b.awaitReady(t)

			for _, message := range []int64{1, 2, 2, 1} {
				require.True(t, b.crashAlone(t, clock, message).Alone())
			}
			require.False(t, b.crashAlone(t, clock, 3).Alone(), "the third one is not to blame")
			status := b.awaitStatus(t, tripped)
			require.Contains(t, status.Reason, "3 different messages in a row have crashed it")
			require.Positive(t, status.NextAttempt.Sub(clock.Now()))
			require.ErrorContains(t, b.apart(false, "echo").awaitRefusal(t), "tripped")

			clock.advance(time.Hour)
			b.awaitStatus(t, ready)
			require.False(t, b.crashAlone(t, clock, 1).Alone())
			b.awaitStatus(t, tripped)

			clock.advance(time.Hour)
			b.awaitStatus(t, ready)
			b.echoes(t)
			require.True(t, b.crashAlone(t, clock, 1).Alone(), "others get through now")
			require.False(t, b.Status().Breaker.Open)
		})
	}
}

func TestResetForgetsWhichMessagesCrashedThePlugin(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Restart.MaxCrashes = 1 // one message is never enough
	log := &logBuffer{}
	d := deps(t, log)
	clock := newHandClock()
	d.Clock = clock
	b := startWith(t, s, d, log)
	b.awaitReady(t)
	require.True(t, b.crashAlone(t, clock, 1).Alone())
	require.False(t, b.crashAlone(t, clock, 2).Alone())
	b.awaitStatus(t, tripped)
	require.NoError(t, b.Reset())
	b.awaitReady(t)
	require.True(t, b.crashAlone(t, clock, 2).Alone())
}
