package supervisor_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
)

// curable is a plugin that fails to start until it is cured, with a clock that
// nobody moves.
func curable(t *testing.T, restart supervisor.Restart) (b *bench, clock *handClock, cure func()) {
	t.Helper()
	cured := filepath.Join(t.TempDir(), "cured")
	s := spec(t, "exit-unless-file")
	s.Env["ARG"] = cured
	s.Restart = restart
	log := &logBuffer{}
	d := deps(t, log)
	clock = newHandClock()
	d.Clock = clock
	return startWith(t, s, d, log), clock, func() { require.NoError(t, os.WriteFile(cured, nil, 0o600)) }
}

func TestResetClosesTheBreaker(t *testing.T) {
	t.Parallel()
	b, clock, cure := curable(t, supervisor.Restart{BackoffInitial: time.Second, MaxCrashes: 1, Window: time.Hour})
	require.Equal(t, time.Hour, clock.wait(t))
	require.Equal(t, supervisor.StateTripped, b.Status().State)

	// What is not mended trips again at once.
	require.NoError(t, b.Reset())
	require.Equal(t, time.Hour, clock.wait(t))
	require.Equal(t, supervisor.StateTripped, b.Status().State)

	cure()
	require.NoError(t, b.Reset())
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateReady })
	b.echoes(t)
}

func TestResetForgetsTheBackoff(t *testing.T) {
	t.Parallel()
	b, clock, cure := curable(t, supervisor.Restart{BackoffInitial: time.Second, BackoffMax: time.Hour, MaxCrashes: 100})
	for range 3 {
		clock.advance(clock.wait(t))
	}
	require.Greater(t, clock.wait(t), 2*time.Second)

	require.NoError(t, b.Reset())
	require.LessOrEqual(t, clock.wait(t), time.Second, "the back-off begins anew")

	cure()
	require.NoError(t, b.Reset())
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateReady })
	b.echoes(t)
}

func TestResetOfAStoppedPluginIsRefused(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	stop(t, b.Plugin)
	require.ErrorIs(t, b.Reset(), supervisor.ErrStopped)
}
