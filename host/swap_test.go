package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/supervisor"
)

// retiring are the processes of the plugin's older generations.
func (b *bundle) retiring() (pids []int) {
	for _, old := range b.plugin().Retiring {
		pids = append(pids, old.PIDs...)
	}
	return pids
}

// testSwapKey holds one step while the plugin is reloaded. By default the new
// process serves beside it; with stop_first the new one waits for its end.
func testSwapKey(t *testing.T, key string) {
	t.Run("overlap", func(t *testing.T) {
		t.Parallel()
		b := startConfigured(t, conf{})
		b.send("a_queue", b.waiting())
		b.eventually("it runs", func() bool { return len(b.runs("log")) == 1 })
		old := b.runs("log")[0]

		swap, err := b.ReloadPlugin(t.Context(), "test")
		require.NoError(t, err)
		require.Equal(t, []int{old}, swap.Old.PIDs)
		require.Equal(t, []int{old}, b.retiring())
		require.Equal(t, string(supervisor.StateReady), b.plugin().State)
		b.send("b_queue", `{"about": true}`)
		require.Equal(t, swap.New.PIDs, []int{b.reports(1)[0].PID})

		b.touch("go")
		b.results(2)
		b.eventually("the old one ends", func() bool { return len(b.plugin().Retiring) == 0 })
	})
	t.Run("stop_first", func(t *testing.T) {
		t.Parallel()
		b := startConfigured(t, conf{key: `"stop_first"`})
		b.send("a_queue", b.waiting())
		b.eventually("it runs", func() bool { return len(b.runs("log")) == 1 })

		done := make(chan error, 1)
		go func() {
			_, err := b.ReloadPlugin(t.Context(), "test")
			done <- err
		}()
		b.inState(supervisor.StateDraining)
		require.Equal(t, 1, b.plugin().Generation, "the new one is not started before the old one has ended")
		b.send("b_queue", `{"about": true}`)
		b.touch("go")
		require.NoError(t, <-done)
		require.Equal(t, 2, b.plugin().Generation)
		b.results(2)
	})
}

// busy is a host on which a failed step is dead at once.
func busy(t *testing.T, c conf) *bundle {
	t.Helper()
	return startConfigured(t, conf{"namespace.concurrency": "20", "namespace.retry.max_attempts": "1"}.with(c))
}

// reload swaps the plugin and returns its new process.
func (b *bundle) reload() (pid int) {
	b.t.Helper()
	swap, err := b.ReloadPlugin(b.t.Context(), "test")
	require.NoError(b.t, err)
	require.NotEqual(b.t, swap.Old.PIDs, swap.New.PIDs)
	return swap.New.PIDs[0]
}

// undisturbed tells that n messages had one delivery and one success each.
func (b *bundle) undisturbed(n int) {
	b.t.Helper()
	b.results(n)
	require.Equal(b.t, n, b.count(`SELECT count(*) FROM pgmq.q_results WHERE (message->>'success')::bool`))
	b.eventually("all are archived", func() bool { return b.count(`SELECT count(*) FROM pgmq.a_a_queue`) == n })
	require.Equal(b.t, n, b.count(`SELECT count(*) FROM pgmq.a_a_queue WHERE read_ct = 1`), "none was given back")
}

func TestSwapsOfABusyPluginLoseNothing(t *testing.T) {
	t.Parallel()
	const swaps = 5
	t.Run("deep queue", func(t *testing.T) {
		t.Parallel()
		b := busy(t, conf{})
		sent := 0
		for range swaps {
			b.send("a_queue", bodies(400, `{"ms": 5}`)...)
			sent += 400
			b.reload()
		}
		b.undisturbed(sent)
		b.measured()
	})
	t.Run("an exclusive pool", func(t *testing.T) {
		t.Parallel()
		b := busy(t, conf{"plugin.swap": `"stop_first"`, "plugin.instances": "2"})
		sent := 0
		for range swaps {
			b.send("a_queue", bodies(200, `{"ms": 5}`)...)
			sent += 200
			b.reload()
		}
		// What had not started when the old version made room was given back.
		b.results(sent)
		require.Equal(t, sent, b.count(`SELECT count(*) FROM pgmq.q_results WHERE (message->>'success')::bool`))
		b.measured()
	})
	t.Run("nearly idle", func(t *testing.T) {
		t.Parallel()
		b := busy(t, conf{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range swaps {
				b.reload()
				time.Sleep(20 * time.Millisecond)
			}
		}()
		sent := 0
		for over := false; !over; sent++ {
			b.send("a_queue", `{}`)
			select {
			case <-done:
				over = true
			case <-time.After(time.Millisecond):
			}
		}
		b.undisturbed(sent)
		b.measured()
	})
}

// measured logs how long steps waited beyond their turn: since a younger one
// was started, and since they were sent.
func (b *bundle) measured() {
	b.t.Helper()
	rows, err := b.db.Query(b.t.Context(), `
		SELECT r.message->'result'->>'pid' AS pid, (r.message->'metadata'->>'started_at')::timestamptz AS started,  a.enqueued_at AS enqueued
		FROM pgmq.q_results r JOIN pgmq.a_a_queue a ON a.msg_id = (r.message->>'message_id')::bigint
		ORDER BY a.msg_id DESC`)
	require.NoError(b.t, err)
	type step struct {
		PID               string
		Started, Enqueued time.Time
	}
	steps, err := pgx.CollectRows(rows, pgx.RowToStructByPos[step])
	require.NoError(b.t, err)
	processes := make(map[string]int)
	var overtaken, waited time.Duration
	first := steps[0].Started
	for _, s := range steps {
		processes[s.PID]++
		overtaken = max(overtaken, s.Started.Sub(first))
		waited = max(waited, s.Started.Sub(s.Enqueued))
		if s.Started.Before(first) {
			first = s.Started
		}
	}
	b.t.Logf("%d steps in %d processes; the longest wait was %v, %v of it after a younger step had started", len(steps), len(processes), waited, overtaken)
	require.Greater(b.t, len(processes), 1)
}

// program is a copy of the test plugin that a test may replace.
func program(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "plugin")
	install(t, path)
	return path
}

// install puts the test plugin there, by a rename.
func install(t *testing.T, path string) {
	t.Helper()
	original, err := testPlugin()
	require.NoError(t, err)
	data, err := os.ReadFile(original)
	require.NoError(t, err)
	replace(t, path, data)
}

func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	fresh := path + ".new"
	require.NoError(t, os.WriteFile(fresh, data, 0o755))
	require.NoError(t, os.Rename(fresh, path))
}

// broken is a program that says why it cannot start.
const broken = "#!/bin/sh\necho no licence >&2\nexit 3\n"

func TestVersionThatDoesNotStartLeavesTheOldOneServing(t *testing.T) {
	t.Parallel()
	command := program(t)
	b := busy(t, conf{"plugin.command": strconv.Quote(command)})
	replace(t, command, []byte(broken))
	_, err := b.ReloadPlugin(t.Context(), "test")
	require.ErrorContains(t, err, `plugin "test" is not swapped: the old version serves on: start plugin "test"`)
	require.ErrorContains(t, err, "no licence")
	require.Contains(t, b.logs.String(), "plugin is not swapped")
	b.send("a_queue", `{}`)
	b.results(1)
	require.Equal(t, 1, b.plugin().Generation)
}

func TestReloadsOfOnePluginDoNotMeet(t *testing.T) {
	t.Parallel()
	b := busy(t, conf{})
	errs := make(chan error, 10)
	for range cap(errs) {
		go func() {
			_, err := b.ReloadPlugin(b.t.Context(), "test")
			errs <- err
		}()
	}
	done := 0
	for range cap(errs) {
		if err := <-errs; err != nil {
			require.ErrorIs(t, err, admin.ErrConflict)
			continue
		}
		done++
	}
	require.Positive(t, done)
	require.Equal(t, 1+done, b.plugin().Generation)
	_, err := b.ReloadPlugin(t.Context(), "nowhere")
	require.ErrorIs(t, err, admin.ErrNotFound)
}

// held starts a step that runs until the file "go" is there.
func (b *bundle) held() (pid int) {
	b.t.Helper()
	b.send("a_queue", fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("log"), b.path("go")))
	b.eventually("it runs", func() bool { return len(b.runs("log")) == 1 })
	return b.runs("log")[0]
}

func TestCrashOfTheOldVersionWhileItDrains(t *testing.T) {
	t.Parallel()
	b := busy(t, conf{})
	old := b.held()
	b.reload()
	require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
	b.eventually("the step runs again", func() bool { return len(b.runs("log")) == 2 })
	require.NotEqual(t, old, b.runs("log")[1])
	b.touch("go")
	b.results(1)
	b.eventually("the old version is gone", func() bool { return len(b.plugin().Retiring) == 0 })
	require.Equal(t, 2, b.plugin().Generation, "nothing restarts the old one")
}

func TestCrashOfTheNewVersionAfterTheFlip(t *testing.T) {
	t.Parallel()
	b := busy(t, conf{"plugin.restart.backoff_initial": `"1ms"`})
	old := b.held()
	fresh := b.reload()
	require.NoError(t, syscall.Kill(fresh, syscall.SIGKILL))
	b.eventually("it is started again", func() bool {
		plugin := b.plugin()
		return plugin.State == string(supervisor.StateReady) && plugin.Crashes == 1
	})
	b.send("b_queue", `{}`)
	b.results(1)
	require.Equal(t, []int{old}, b.retiring(), "the old one still has its step")
	b.touch("go")
	b.results(2)
}

func TestHostStopsInTheMiddleOfASwap(t *testing.T) {
	t.Parallel()
	command := program(t)
	b := busy(t, conf{"plugin.command": strconv.Quote(command)})
	b.held()
	b.reload() // the old version has the step and drains
	started := filepath.Join(b.dir, "started")
	replace(t, command, []byte("#!/bin/sh\ntouch "+started+"\nexec sleep 1000\n"))
	failed := make(chan error, 1)
	go func() {
		_, err := b.ReloadPlugin(b.t.Context(), "test")
		failed <- err
	}()
	b.eventually("the next version is starting", func() bool { _, err := os.Stat(started); return err == nil })
	b.stop()
	b.eventually("the drain begins", func() bool { return b.Status(b.t.Context()).Host.Draining })
	b.touch("go")
	b.drained()
	require.Error(t, <-failed)
	b.undisturbed(1)
}

func TestTrippedPluginIsReplacedByAReload(t *testing.T) {
	t.Parallel()
	command := program(t)
	replace(t, command, []byte(broken))
	b := runConfigured(t, newDatabase(t), conf{
		"plugin.command": strconv.Quote(command), "plugin.restart.max_crashes": "1", "plugin.restart.window": `"10h"`,
	})
	b.inState(supervisor.StateTripped)
	b.send("a_queue", `{}`)
	install(t, command)
	b.reload()
	b.results(1)
	require.False(t, b.plugin().Breaker.Open)
}
