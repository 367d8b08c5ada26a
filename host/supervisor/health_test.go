package supervisor_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// awaitLines waits until the log has a text in n lines.
func (l *logBuffer) awaitLines(t *testing.T, n int, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Count(l.String(), text) >= n }, patience, 5*time.Millisecond, text)
}

// TestSlowPluginSurvives has plugins that answer late, but in time.
func TestSlowPluginSurvives(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		late       string
		processors string
		spinning   int // handlers that never yield
	}{
		"its health check is slow":             {late: "200ms"},
		"its handlers keep the processor busy": {late: "0s", processors: "1", spinning: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, "slow-health")
			s.Env["ARG"], s.Env["GOMAXPROCS"] = tc.late, tc.processors
			s.Timeouts.HealthInterval, s.Timeouts.Health = 20*time.Millisecond, patience
			b := startReady(t, s)
			for range tc.spinning {
				require.NotNil(t, b.run(t, "spin", "").result)
			}
			pid := b.pid()
			// The first answer is to the check at the start.
			before := strings.Count(b.log.String(), healthAnswer)
			b.log.awaitLines(t, before+5, healthAnswer)
			b.echoes(t)
			status := b.Status()
			require.Equal(t, pid, status.Instances[0].PID)
			require.Zero(t, status.Crashes)
		})
	}
}

// TestWedgedPluginIsReplaced has a plugin that still takes steps and does not
// answer for its health.
func TestWedgedPluginIsReplaced(t *testing.T) {
	t.Parallel()
	s := quickRestart(t, "hang-health-with-file")
	s.Env["ARG"] = filepath.Join(t.TempDir(), "hang")
	s.Timeouts.HealthInterval, s.Timeouts.Health = 20*time.Millisecond, 500*time.Millisecond
	b := startReady(t, s)
	pid := b.pid()
	_, sk := b.holding(t, 1)
	require.NoError(t, os.WriteFile(s.Env["ARG"], nil, 0o600))

	lost := sk.next(t).lost
	var crash *supervisor.CrashError
	require.ErrorAs(t, lost, &crash)
	require.True(t, crash.Alone())
	require.ErrorContains(t, lost, "health check: no answer within 500ms")
	awaitGone(t, pid)
	require.NoError(t, os.Remove(s.Env["ARG"]))
	b.replaced(t, pid)
	b.echoes(t)
}

// TestFrozenGroupIsKilled freezes the plugin with a child of its own, and in
// one case also the shim that is to kill them.
func TestFrozenGroupIsKilled(t *testing.T) {
	t.Parallel()
	for name, withShim := range map[string]bool{"the group": false, "the group and the shim": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := quickRestart(t, "grandchild")
			s.Env["ARG"] = filepath.Join(t.TempDir(), "pid")
			s.Timeouts.HealthInterval, s.Timeouts.Health = 20*time.Millisecond, time.Second
			b := startReady(t, s)
			pid, grandchild := b.pid(), pidIn(t, s.Env["ARG"])
			_, sk := b.holding(t, 2)
			if withShim {
				require.NoError(t, syscall.Kill(parentOf(t, pid), syscall.SIGSTOP))
			}
			require.NoError(t, syscall.Kill(-pid, syscall.SIGSTOP))

			for range 2 {
				var crash *supervisor.CrashError
				require.ErrorAs(t, sk.next(t).lost, &crash)
				require.ErrorContains(t, crash, "health check: no answer within 1s")
				require.Equal(t, 2, crash.InFlight)
			}
			awaitGone(t, pid)
			awaitGone(t, grandchild)
			b.replaced(t, pid)
			b.echoes(t)
		})
	}
}

func TestLeastLoadedProcessGetsTheStep(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Instances = 3
	b := start(t, s)
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.Ready() == 3 })
	sk := newSink()
	for _, batch := range []int{1, 4, 1, 2, 5, 2} {
		var steps []*pluginv1.Step
		for range batch {
			steps = append(steps, newStep("hold", ""))
		}
		b.Dispatch(steps, sk)
		for range batch {
			sk.beat(t)
		}
	}
	for _, i := range b.Status().Instances {
		require.Equal(t, 5, i.InFlight)
	}
}
