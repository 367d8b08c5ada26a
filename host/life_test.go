package host_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
)

// curable is the test plugin behind a script that fails until the file "cured"
// is there.
func curable(t *testing.T, dir string) (command string) {
	t.Helper()
	program, err := testPlugin()
	require.NoError(t, err)
	command = dir + "/ailing.sh"
	script := fmt.Sprintf("#!/bin/sh\n[ -e %s/cured ] || exit 3\nexec %s\n", dir, program)
	require.NoError(t, os.WriteFile(command, []byte(script), 0o755))
	return command
}

func TestTrippedPluginLeavesItsMessagesUntouched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := runConfigured(t, newDatabase(t), conf{
		"plugin.command":                 strconv.Quote(curable(t, dir)),
		"plugin.restart.max_crashes":     "2",
		"plugin.restart.window":          `"10h"`,
		"plugin.restart.backoff_initial": `"1ms"`,
	})
	const messages = 20
	b.send("a_queue", bodies(messages/2, `{}`)...)
	b.inState(supervisor.StateTripped)
	b.send("a_queue", bodies(messages/2, `{}`)...)
	b.eventually("the lane has looked", func() bool {
		return strings.Contains(b.namespace("a").Blocked, "it is tripped: 2 crashes within 10h0m0s")
	})
	plugin := b.plugin()
	require.Greater(t, time.Until(plugin.NextAttempt), 9*time.Hour)
	require.True(t, plugin.Breaker.Open)
	metrics := b.metrics()
	require.EqualValues(t, 1, metrics[`stephost_plugin_state{plugin="test",state="tripped"}`])
	require.EqualValues(t, 0, metrics[`stephost_plugin_state{plugin="test",state="ready"}`])
	require.EqualValues(t, 2, metrics[`stephost_plugin_failed_starts_total{plugin="test"}`])
	untouched := `SELECT count(*) FROM pgmq.q_a_queue WHERE read_ct = 0 AND vt < enqueued_at + interval '1 second'`
	require.Equal(t, messages, b.count(untouched))

	// Nobody has to wait for the window once the cause is mended.
	require.NoError(t, os.WriteFile(dir+"/cured", nil, 0o600))
	require.ErrorContains(t, b.ResetPlugin(t.Context(), "tests"), `plugin "tests": not found: this host has test`)
	require.Equal(t, messages, b.count(untouched))
	require.NoError(t, b.ResetPlugin(t.Context(), "test"))
	b.results(messages)
	require.Equal(t, messages, b.count(`SELECT count(*) FROM pgmq.a_a_queue WHERE read_ct = 1`))
	metrics = b.metrics()
	require.EqualValues(t, 1, metrics[`stephost_plugin_state{plugin="test",state="ready"}`])
	require.EqualValues(t, 1, metrics[`stephost_plugin_ready_instances{plugin="test"}`])
	require.Positive(t, metrics[`stephost_plugin_time_to_ready_seconds{plugin="test"}`])
	require.EqualValues(t, 0, metrics[`stephost_plugin_crashes_total{plugin="test"}`])
}

// TestHungHandlerCostsItsProcessAndNobodyElse has a handler in namespace a that
// ignores its timeout, and one in namespace b that shares the process.
func TestHungHandlerCostsItsProcessAndNobodyElse(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		drain  string // how long the other step is waited for
		spared bool
	}{
		"the other step finishes": {`"1h"`, true},
		"the other step is lost":  {`"10ms"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startConfigured(t, conf{
				"host.shutdown.drain_timeout":  tc.drain,
				"host.shutdown.kill_timeout":   `"50ms"`,
				"namespace.timeout":            `"200ms"`,
				"namespace.retry.max_attempts": "1",
			})
			before := b.plugin().Instances[0].PID
			b.send("b_queue", fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("other"), b.path("go")))
			b.eventually("the other step runs", func() bool { return len(b.runs("other")) == 1 })
			b.send("a_queue", fmt.Sprintf(`{"log": %q, "until": %q, "regardless": true}`, b.path("hung"), b.path("never")))
			b.results(1)
			require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE headers->'stephost'->'errors'->0->>'message' LIKE '%ignored the cancellation'`))
			b.eventually("the process is replaced", func() bool {
				p := b.plugin()
				return p.State == "ready" && p.Hangs == 1 && p.Instances[0].PID != before
			})
			require.Contains(t, b.plugin().Reason, `handler "work" has ignored its cancellation (timeout) for `)
			require.Contains(t, b.plugin().Reason, `with message 1 of namespace "a"`)
			if !tc.spared {
				b.eventually("the other step runs again", func() bool { return len(b.runs("other")) == 2 })
				require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_b_queue WHERE (headers->'stephost'->>'accounted')::int = read_ct - 1
					AND NOT headers->'stephost' ?| ARRAY['failures', 'crashes', 'errors']`), "at no cost")
			}
			b.touch("go")
			b.results(2)
			pids := b.runs("other")
			require.Equal(t, before, pids[0])
			if tc.spared {
				require.Len(t, pids, 1)
			} else {
				require.Equal(t, b.plugin().Instances[0].PID, pids[1])
			}
			b.eventually("the old process is gone", func() bool { return syscall.Kill(before, 0) == syscall.ESRCH })
			metrics := b.metrics()
			require.EqualValues(t, 1, metrics[`stephost_plugin_hangs_total{plugin="test"}`])
			require.EqualValues(t, 0, metrics[`stephost_plugin_crashes_total{plugin="test"}`])
			require.EqualValues(t, 1, metrics[`stephost_lane_faults_total{kind="abandoned",namespace="a"}`])
		})
	}
}
