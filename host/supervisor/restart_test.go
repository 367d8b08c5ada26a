package supervisor_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
)

// handClock moves when it is told to.
type handClock struct {
	mu     sync.Mutex
	now    time.Time
	timers []handTimer
	waits  chan time.Duration
}

type handTimer struct {
	due time.Time
	c   chan time.Time
}

func newHandClock() *handClock {
	return &handClock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), waits: make(chan time.Duration, 1000)}
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	timer := handTimer{due: c.now.Add(d), c: make(chan time.Time, 1)}
	c.timers = append(c.timers, timer)
	c.waits <- d
	return timer.c
}

func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	kept := c.timers[:0]
	for _, timer := range c.timers {
		if timer.due.After(c.now) {
			kept = append(kept, timer)
		} else {
			timer.c <- c.now
		}
	}
	c.timers = kept
}

// wait returns the delay that the supervisor waits for.
func (c *handClock) wait(t *testing.T) time.Duration {
	t.Helper()
	select {
	case d := <-c.waits:
		return d
	case <-time.After(patience):
		require.FailNow(t, "nobody waits")
		return 0
	}
}

func TestBackoffGrowsThenTripsThenProbes(t *testing.T) {
	t.Parallel()
	cured := filepath.Join(t.TempDir(), "cured")
	s := spec(t, "exit-unless-file")
	s.Env["ARG"] = cured
	s.Restart = supervisor.Restart{BackoffInitial: time.Second, BackoffMax: 3 * time.Second, MaxCrashes: 4, Window: time.Minute}
	log := &logBuffer{}
	d := deps(t, log)
	clock := newHandClock()
	d.Clock = clock
	b := startWith(t, s, d, log)

	for _, most := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second} {
		delay := clock.wait(t)
		require.LessOrEqual(t, delay, most)
		require.GreaterOrEqual(t, delay, most*3/4)
		status := b.Status()
		require.Equal(t, supervisor.StateBackingOff, status.State)
		require.Contains(t, status.Reason, "exit status 3")
		require.Equal(t, clock.Now().Add(delay), status.NextAttempt)
		clock.advance(delay)
	}
	require.Equal(t, time.Minute, clock.wait(t))
	status := b.Status()
	require.Equal(t, supervisor.StateTripped, status.State)
	require.Contains(t, status.Reason, "4 crashes within 1m0s")
	require.Contains(t, status.Reason, "exit status 3")
	require.Equal(t, clock.Now().Add(time.Minute), status.NextAttempt)
	require.EqualValues(t, 4, status.FailedStarts)
	require.Equal(t, supervisor.BreakerStatus{Crashes: 4, MaxCrashes: 4, Window: time.Minute, Open: true}, status.Breaker)
	require.Error(t, b.WaitReady(t.Context()))

	// The probe fails and trips at once.
	clock.advance(time.Minute)
	require.Equal(t, time.Minute, clock.wait(t))
	require.Equal(t, supervisor.StateTripped, b.Status().State)
	require.Contains(t, b.Status().Reason, "the probe failed")

	require.NoError(t, os.WriteFile(cured, nil, 0o600))
	clock.advance(time.Minute)
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateReady })
	b.echoes(t)

	// On probation one crash is enough.
	require.NoError(t, os.Remove(cured))
	require.Error(t, b.run(t, "exit", "").lost)
	require.Equal(t, time.Minute, clock.wait(t))
	status = b.Status()
	require.Equal(t, supervisor.StateTripped, status.State)
	require.Contains(t, status.Reason, "a crash within 1m0s after the probe")
	require.EqualValues(t, 1, status.Crashes)
	require.Positive(t, status.TimeToReady)
}

func TestBackoffHasJitter(t *testing.T) {
	t.Parallel()
	b, clock, _ := curable(t, supervisor.Restart{BackoffInitial: time.Hour, BackoffMax: time.Hour, MaxCrashes: 100})
	delays := make(map[time.Duration]struct{})
	for range 3 {
		delay := clock.wait(t)
		delays[delay] = struct{}{}
		clock.advance(delay)
	}
	require.Len(t, delays, 3, "each delay is another one")
	require.NotEqual(t, supervisor.StateReady, b.Status().State)
}

func TestOldCrashesLeaveTheWindow(t *testing.T) {
	t.Parallel()
	b, clock, _ := curable(t, supervisor.Restart{
		BackoffInitial: 40 * time.Second, BackoffMax: 40 * time.Second, MaxCrashes: 3, Window: time.Minute,
	})
	// Each failure is at least 30 s after the one before, so that never more
	// than two are within a minute.
	for range 6 {
		require.LessOrEqual(t, clock.wait(t), 40*time.Second)
		require.Equal(t, supervisor.StateBackingOff, b.Status().State)
		require.LessOrEqual(t, b.Status().Breaker.Crashes, 2)
		clock.advance(40 * time.Second)
	}
}

func TestHealthyMinutesResetTheBackoff(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Restart = supervisor.Restart{BackoffInitial: time.Second, BackoffMax: time.Hour, Window: time.Minute}
	log := &logBuffer{}
	d := deps(t, log)
	clock := newHandClock()
	d.Clock = clock
	b := startWith(t, s, d, log)
	for n, healthy := range []bool{false, false, true} {
		b.awaitStatus(t, func(s supervisor.Status) bool {
			return s.State == supervisor.StateReady && s.Instances[0].Restarts == n
		})
		if healthy {
			clock.advance(time.Minute)
		}
		require.Error(t, b.run(t, "exit", "").lost)
		delay := clock.wait(t)
		if n == 1 {
			require.Greater(t, delay, time.Second)
		} else {
			require.LessOrEqual(t, delay, time.Second)
		}
		clock.advance(delay)
	}
}
