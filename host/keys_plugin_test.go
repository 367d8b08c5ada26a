package host_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/supervisor"
)

func pluginKeyTests() map[string]keyTest {
	return map[string]keyTest{
		"plugin.command":                 testCommand,
		"plugin.args":                    testArgs,
		"plugin.sha256":                  testSHA256,
		"plugin.env":                     testEnv,
		"plugin.instances":               testInstances,
		"plugin.tls":                     testTLS,
		"plugin.config":                  testPluginConfig,
		"plugin.watch":                   testWatch,
		"plugin.swap":                    testSwapKey,
		"plugin.restart.backoff_initial": testBackoffInitial,
		"plugin.restart.backoff_max":     testBackoffMax,
		"plugin.restart.max_crashes":     testRestartMaxCrashes,
		"plugin.restart.window":          testRestartWindow,
	}
}

func testCommand(t *testing.T, key string) {
	original, err := testPlugin()
	require.NoError(t, err)
	data, err := os.ReadFile(original)
	require.NoError(t, err)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	command := filepath.Join(dir, "another")
	require.NoError(t, os.WriteFile(command, data, 0o700))
	require.Equal(t, command, reportOf(t, conf{key: strconv.Quote(command)}).Executable)
}

func testArgs(t *testing.T, key string) {
	require.Equal(t, []string{"-v", "two words"}, reportOf(t, conf{key: `["-v", "two words"]`}).Args)
	require.Empty(t, reportOf(t, conf{}).Args)
}

func testSHA256(t *testing.T, key string) {
	command, err := testPlugin()
	require.NoError(t, err)
	data, err := os.ReadFile(command)
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	right := hex.EncodeToString(sum[:])
	startConfigured(t, conf{key: strconv.Quote(right)})

	wrong := strings.Repeat("ab", sha256.Size)
	b := runConfigured(t, newDatabase(t), conf{key: strconv.Quote(wrong)})
	b.eventually("the program is refused", func() bool {
		return strings.Contains(b.plugin().Instances[0].LastError, "its sha256 is "+right+", but "+wrong+" is pinned")
	})
	require.Zero(t, b.plugin().Instances[0].PID)
}

func testEnv(t *testing.T, key string) {
	require.Contains(t, reportOf(t, conf{key: `{ REGION = "eu" }`}).Env, "REGION=eu")
}

func testInstances(t *testing.T, key string) {
	b := startConfigured(t, conf{key: "2"})
	b.eventually("both are ready", func() bool {
		return !slices.ContainsFunc(b.plugin().Instances, func(i admin.Instance) bool { return i.State != string(supervisor.StateReady) })
	})
	b.send("a_queue", bodies(10, b.waiting())...)
	b.eventually("all run", func() bool { return len(b.runs("log")) == 10 })
	b.touch("go")
	pids := b.runs("log")
	slices.Sort(pids)
	require.Len(t, slices.Compact(pids), 2)
}

func testTLS(t *testing.T, key string) {
	for value, encrypted := range map[string]bool{`"off"`: false, `"auto"`: true} {
		got := slices.ContainsFunc(reportOf(t, conf{key: value}).Env, func(v string) bool { return strings.HasPrefix(v, "PLUGIN_CLIENT_CERT=") })
		require.Equal(t, encrypted, got, value)
	}
}

func testPluginConfig(t *testing.T, key string) {
	b := startConfigured(t, conf{key + ".word": `"abracadabra"`})
	b.send("a_queue", `{"config": true}`)
	b.results(1)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results WHERE message->'result'->>'Word' = 'abracadabra'`))
}

// failing is a host whose plugin ends as soon as it is started.
func failing(t *testing.T, c conf) *bundle {
	t.Helper()
	command, err := exec.LookPath("false")
	require.NoError(t, err)
	return runConfigured(t, newDatabase(t), conf{"plugin.command": strconv.Quote(command)}.with(c))
}

func (b *bundle) inState(state supervisor.State) {
	b.t.Helper()
	b.eventually("the plugin is "+string(state), func() bool { return b.plugin().State == string(state) })
}

func testBackoffInitial(t *testing.T, key string) {
	b := failing(t, conf{key: `"10h"`, "plugin.restart.backoff_max": `"20h"`})
	b.inState(supervisor.StateBackingOff)
	require.Greater(t, time.Until(b.plugin().NextAttempt), 5*time.Hour)
}

// testBackoffMax has more failures than the doubling would allow in time.
func testBackoffMax(t *testing.T, key string) {
	b := failing(t, conf{
		key:                              `"2ms"`,
		"plugin.restart.backoff_initial": `"1ms"`,
		"plugin.restart.max_crashes":     "1000000",
	})
	b.eventually("it is started again and again", func() bool { return b.plugin().Instances[0].Restarts >= 20 })
}

func testRestartMaxCrashes(t *testing.T, key string) {
	b := failing(t, conf{key: "2", "plugin.restart.backoff_initial": `"1ms"`})
	b.inState(supervisor.StateTripped)
	require.Contains(t, b.plugin().Reason, "2 crashes within 2m0s")
}

func testRestartWindow(t *testing.T, key string) {
	c := conf{
		"plugin.restart.max_crashes":     "2",
		"plugin.restart.backoff_initial": `"20ms"`,
		"plugin.restart.backoff_max":     `"20ms"`,
	}
	long := failing(t, c.with(conf{key: `"10h"`}))
	long.inState(supervisor.StateTripped)
	require.Greater(t, time.Until(long.plugin().NextAttempt), 5*time.Hour, "it probes after another window")

	short := failing(t, c.with(conf{key: `"1ms"`}))
	short.eventually("it is started again and again", func() bool { return short.plugin().Instances[0].Restarts >= 5 })
	require.NotContains(t, short.logs.String(), "tripped=true", "no two crashes fall into one window")
}
