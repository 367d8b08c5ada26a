package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/syncbuf"
)

// largeVariable is how many large bodies TestLargeBodiesDoNotTakeTheHostDown
// queues, when a few are not enough.
const largeVariable = "STEPHOST_TEST_LARGE_BODIES"

// The host's memory is bounded by buffers.bytes and not by what is queued: all of
// these could be claimed at once. The programs are built without the race
// detector, which needs memory of its own.
func TestLargeBodiesDoNotTakeTheHostDown(t *testing.T) {
	t.Parallel()
	total := 4
	if text := os.Getenv(largeVariable); text != "" {
		var err error
		total, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	const (
		bodyBytes = 50_000_000
		// One body is in hand at a time; it is held as it comes from the database, as
		// the step's message and as that message encoded, and the collector lets half
		// as much again lie about.
		mostResident = 512 << 20
	)
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), ".", "../../host/internal/testplugin").CombinedOutput()
	require.NoError(t, err, "%s", out)
	dsn, db := newQueues(t)
	_, err = db.Exec(t.Context(), `SELECT pgmq.create('small_queue')`)
	require.NoError(t, err)
	_, err = db.Exec(t.Context(), `INSERT INTO pgmq.q_work_queue (vt, message) SELECT clock_timestamp(), jsonb_build_object('fill', repeat('x', $1::int))`, bodyBytes)
	require.NoError(t, err)
	// A copy of what is compressed costs nothing.
	_, err = db.Exec(t.Context(), `INSERT INTO pgmq.q_work_queue (vt, message) SELECT clock_timestamp(), message FROM pgmq.q_work_queue, generate_series(2, $1::int)`, total)
	require.NoError(t, err)
	// 100 MB as they are stored, and more than any plugin takes when written out.
	_, err = db.Exec(t.Context(), `INSERT INTO pgmq.q_work_queue (vt, message) SELECT clock_timestamp(), jsonb_build_object('fill', repeat(chr(1), 50000000))`)
	require.NoError(t, err)

	config := filepath.Join(dir, "config.hcl")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
host {
  admin { listen = "127.0.0.1:0" }
}
queue "pgmq" {
  dsn = %q
}
event_system {
  buffers { bytes = "64MiB" }
}
plugin "test" {
  command = %q
}
namespace "work" {
  plugin       = "test"
  concurrency  = 500
  timeout      = "0s"
  result_queue = "results"
}
namespace "small" {
  plugin = "test"
}
`, dsn, filepath.Join(dir, "testplugin")), 0o600))
	log := &syncbuf.Buffer{}
	host := exec.Command(filepath.Join(dir, "stephost"), "run", "--config", config)
	host.Stderr = log
	require.NoError(t, host.Start())
	t.Cleanup(func() {
		_ = host.Process.Kill()
		_ = host.Wait()
		if t.Failed() {
			t.Log(log)
		}
	})
	count := func(sql string) (n int) {
		require.NoError(t, db.QueryRow(t.Context(), sql).Scan(&n))
		return n
	}
	_, err = db.Exec(t.Context(), `SELECT pgmq.send('small_queue', '{}') FROM generate_series(1, 20)`)
	require.NoError(t, err)
	limit := patience + time.Duration(total)*10*time.Second
	require.Eventually(t, func() bool { return count(`SELECT count(*) FROM pgmq.q_results`) == total+1 }, limit, 20*time.Millisecond)
	require.Equal(t, total, count(`SELECT count(*) FROM pgmq.a_work_queue`))
	require.Equal(t, 20, count(`SELECT count(*) FROM pgmq.a_small_queue`), "small messages go on beside")
	require.Equal(t, 1, count(`SELECT count(*) FROM pgmq.q_work_dead WHERE headers #>> '{stephost,dead,error}' ~ 'has 3000000\d\d bytes and a plugin takes at most 268435456'`))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", host.Process.Pid))
	require.NoError(t, err)
	peak := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, peak)
	kilobytes, err := strconv.Atoi(string(peak[1]))
	require.NoError(t, err)
	t.Logf("%d bodies of %d bytes: peak resident memory of the host %d MiB", total, bodyBytes, kilobytes>>10)
	require.Less(t, kilobytes<<10, mostResident)
}
