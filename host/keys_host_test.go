package host_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func hostKeyTests() map[string]keyTest {
	return map[string]keyTest{
		"host.id":                     testHostID,
		"host.log_level":              testLogLevel,
		"host.log_format":             testLogFormat,
		"host.admin.listen":           testAdminListen,
		"host.admin.token":            testAdminToken,
		"host.shutdown.drain_timeout": testDrainTimeout,
		"host.shutdown.kill_timeout":  testKillTimeout,
	}
}

func testHostID(t *testing.T, key string) {
	b := startConfigured(t, conf{key: `"host-of-mine"`})
	b.send("a_queue", `{}`)
	b.results(1)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results WHERE message->'metadata'->>'worker_id' = 'host-of-mine'`))
}

func testLogLevel(t *testing.T, key string) {
	// The handler says the same at debug and then at info.
	logged := func(level string) (debug bool) {
		b := startConfigured(t, conf{key: level})
		b.send("a_queue", `{"say": "heard of it"}`)
		b.eventually("the plugin's log arrives", func() bool {
			for line := range strings.Lines(b.logs.String()) {
				if strings.Contains(line, "heard of it") {
					debug = debug || strings.Contains(line, "[DEBUG]")
					if strings.Contains(line, "[INFO]") {
						return true
					}
				}
			}
			return false
		})
		return debug
	}
	require.True(t, logged(`"debug"`))
	require.False(t, logged(`"info"`))
}

// testLogFormat runs the whole program, since whoever builds a host brings the
// logger.
func testLogFormat(t *testing.T, key string) {
	program := filepath.Join(t.TempDir(), "stephost")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/stephost").CombinedOutput()
	require.NoError(t, err, string(out))
	dsn := newDatabase(t)
	for format, isJSON := range map[string]bool{`"json"`: true, `"text"`: false} {
		file := filepath.Join(t.TempDir(), "config.hcl")
		require.NoError(t, os.WriteFile(file, []byte(conf{key: format}.file(t, dsn)), 0o600))
		line := firstLogLine(t, program, file)
		require.Equal(t, isJSON, json.Valid([]byte(line)), line)
	}
}

// firstLogLine runs a host until it serves and returns what it logs first.
func firstLogLine(t *testing.T, program, file string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "run", "--config", file)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	first, all := "", ""
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		all += lines.Text() + "\n"
		if first == "" {
			first = lines.Text()
		}
		if strings.Contains(lines.Text(), "host serves") {
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		}
	}
	require.NoError(t, cmd.Wait(), all)
	return first
}

func testAdminListen(t *testing.T, key string) {
	off := startConfigured(t, conf{key: `""`})
	require.Empty(t, off.AdminAddr())
	on := startConfigured(t, conf{key: `"127.0.0.1:0"`})
	code, _ := on.get("/health/live", "")
	require.Equal(t, http.StatusOK, code)
}

func testAdminToken(t *testing.T, key string) {
	b := startConfigured(t, conf{key: `"sesame"`})
	code, _ := b.get("/status", "")
	require.Equal(t, http.StatusUnauthorized, code)
	code, _ = b.get("/status", "simsim")
	require.Equal(t, http.StatusUnauthorized, code)
	code, _ = b.get("/status", "sesame")
	require.Equal(t, http.StatusOK, code)

	open := startConfigured(t, conf{})
	code, _ = open.get("/status", "")
	require.Equal(t, http.StatusOK, code)
}

func testDrainTimeout(t *testing.T, key string) {
	running := func(timeout string) *bundle {
		b := startConfigured(t, conf{key: timeout})
		b.send("a_queue", b.waiting())
		b.eventually("the handler runs", func() bool { return len(b.runs("log")) == 1 })
		return b
	}
	impatient := running(`"1ms"`)
	impatient.drained()
	require.Equal(t, 1, impatient.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE vt <= clock_timestamp()`), "the step is cancelled and given back")

	patient := running(`"1h"`)
	patient.stop()
	patient.eventually("the drain begins", func() bool { return patient.Status(t.Context()).Host.Draining })
	patient.touch("go")
	patient.drained()
	patient.results(1) // the step finishes
}

// testKillTimeout has as many handlers ignore their cancellation, one after
// the other, as the default would not get through in time.
func testKillTimeout(t *testing.T, key string) {
	const attempts = 15
	b := startConfigured(t, conf{
		key:                            `"100ms"`,
		"namespace.timeout":            `"10ms"`,
		"namespace.retry.backoff":      `"fixed"`,
		"namespace.retry.initial":      `"1ms"`,
		"namespace.retry.max_attempts": fmt.Sprint(attempts),
		// The keeper looks after the steps twelve times in a lease.
		"event_system.fallback_poller.visibility_timeout": `"1s"`,
	})
	b.send("a_queue", fmt.Sprintf(`{"log": %q, "until": %q, "regardless": true}`, b.path("log"), b.path("go")))
	b.results(1)
	require.Len(t, b.runs("log"), attempts)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE headers->'stephost'->'dead'->>'error' LIKE '%ignored the cancellation'`))
}
