package host_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/admin"
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
			if tc.spared {
				require.Equal(t, before, b.plugin().Replaced[0].PID)
			} else {
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

// TestPoolLosesOnlyWhatOneProcessHad crashes one of three processes.
func TestPoolLosesOnlyWhatOneProcessHad(t *testing.T) {
	t.Parallel()
	const instances, each = 3, 10
	b := startConfigured(t, conf{
		"plugin.instances":               strconv.Itoa(instances),
		"plugin.restart.backoff_initial": `"1ms"`,
	})
	b.eventually("all are ready", func() bool { return b.plugin().Ready == instances })
	b.send("a_queue", bodies(instances*each, fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("log"), b.path("go")))...)
	b.eventually("all run", func() bool { return len(b.runs("log")) == instances*each })
	load := make(map[int]int)
	for _, pid := range b.runs("log") {
		load[pid]++
	}
	victim := b.plugin().Instances[1].PID
	require.Equal(t, each, load[victim], "the load is level")

	require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
	b.eventually("it is noticed", func() bool { return b.plugin().Crashes == 1 })
	b.touch("go")
	b.results(instances * each)
	b.eventually("all are ready again", func() bool { return b.plugin().Ready == instances })
	require.Equal(t, (instances-1)*each, b.count(`SELECT count(*) FROM pgmq.a_a_queue WHERE read_ct = 1`),
		"what the others had went on undisturbed")
	require.Equal(t, each, b.count(`SELECT count(*) FROM pgmq.a_a_queue WHERE read_ct > 1`))
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.a_a_queue WHERE headers->'stephost' ?| ARRAY['failures', 'crashes']`))
	for _, i := range b.plugin().Instances {
		require.Equal(t, i.Index == 1, i.Restarts == 1)
	}
}

// TestFrozenPluginIsReplacedAndLosesNothing takes as long as a health check
// takes to give up.
func TestFrozenPluginIsReplacedAndLosesNothing(t *testing.T) {
	t.Parallel()
	b := startConfigured(t, conf{
		"plugin.instances":               "2",
		"plugin.restart.backoff_initial": `"1ms"`,
	})
	b.eventually("both are ready", func() bool { return b.plugin().Ready == 2 })
	b.send("a_queue", bodies(10, fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("log"), b.path("go")))...)
	b.eventually("all run", func() bool { return len(b.runs("log")) == 10 })
	frozen := b.plugin().Instances[0].PID
	require.NoError(t, syscall.Kill(frozen, syscall.SIGSTOP))
	b.eventually("it stands still", func() bool { return stopped(frozen) })
	b.touch("go")
	// Meanwhile the other process does its part.
	b.eventually("the other half is done", func() bool { return b.Settled(t.Context(), "a") == 5 })
	require.Equal(t, "ready", b.plugin().State)

	b.results(10)
	require.Equal(t, 5, b.count(`SELECT count(*) FROM pgmq.a_a_queue WHERE read_ct = 1`))
	require.ErrorIs(t, syscall.Kill(frozen, 0), syscall.ESRCH)
	require.Contains(t, b.logs.String(), "health check: no answer within 10s")
}

// TestPoolThatLacksAProcessIsDegraded has one of two that is not started again
// for hours.
func TestPoolThatLacksAProcessIsDegraded(t *testing.T) {
	t.Parallel()
	b := startConfigured(t, conf{
		"plugin.instances":               "2",
		"plugin.restart.backoff_initial": `"10h"`,
		"plugin.restart.backoff_max":     `"10h"`,
	})
	health := func() admin.Component {
		for _, c := range b.Status(t.Context()).Health.Components {
			if c.Name == "plugins" {
				return c
			}
		}
		return admin.Component{}
	}
	b.eventually("both are ready", func() bool { return health().Status == "Healthy" && b.plugin().Ready == 2 })
	require.NoError(t, syscall.Kill(b.plugin().Instances[0].PID, syscall.SIGKILL))
	b.eventually("one is down", func() bool { return b.plugin().Ready == 1 })
	require.Equal(t, "Degraded", health().Status)
	require.Contains(t, health().Reason, "test is ready: 1/2 instances ready: instance 0 is backing-off: ")
	code, _ := b.get("/health/ready", "")
	require.Equal(t, http.StatusOK, code)
	b.send("a_queue", bodies(10, `{}`)...)
	b.results(10)
}

// stopped tells whether each thread of a process has stopped: they go on for a
// moment after the signal. Where there is no /proc it does not know better.
func stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil || !strings.Contains(string(stat), ") T ") {
			return false
		}
	}
	return true
}
