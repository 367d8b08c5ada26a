package host_test

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor/cgroup"
)

func isolationKeyTests() map[string]keyTest {
	return map[string]keyTest{
		"plugin.env_from":          testEnvFrom,
		"plugin.cwd":               testCWD,
		"plugin.user":              testUser,
		"plugin.group":             testGroup,
		"plugin.limits.cpus":       testLimitCPUs,
		"plugin.limits.memory":     testLimitMemory,
		"plugin.limits.open_files": testSystemLimit("64", "Max open files", "64"),
		"plugin.limits.processes":  testSystemLimit("54321", "Max processes", "54321"),
		"plugin.limits.file_size":  testSystemLimit(`"10MiB"`, "Max file size", "10485760"),
		"plugin.limits.core":       testSystemLimit(`"1MiB"`, "Max core file size", "1048576"),
		"plugin.limits.cgroup":     testLimitCgroup,
	}
}

func testEnvFrom(t *testing.T, key string) {
	// PWD is in every environment that `go test` gives its tests.
	want := "PWD=" + os.Getenv("PWD")
	require.NotContains(t, reportOf(t, conf{}).Env, want)
	require.Contains(t, reportOf(t, conf{key: `["PWD"]`}).Env, want)
}

func testCWD(t *testing.T, key string) {
	here, err := os.Getwd()
	require.NoError(t, err)
	require.Equal(t, here, reportOf(t, conf{}).Dir)
	// The file is in this directory.
	require.Equal(t, filepath.Join(here, "supervisor"), reportOf(t, conf{key: `"supervisor"`}).Dir)
}

// reachable is the test plugin where every user may execute it.
func reachable(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run a plugin as another user")
	}
	original, err := testPlugin()
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "s")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	from, err := os.Open(original)
	require.NoError(t, err)
	defer func() { _ = from.Close() }()
	path := filepath.Join(dir, "plugin")
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(to, from)
	require.NoError(t, err)
	require.NoError(t, to.Close())
	return strconv.Quote(path)
}

func testUser(t *testing.T, key string) {
	got := reportOf(t, conf{key: `"61357"`, "plugin.group": `"61358"`, "plugin.command": reachable(t)})
	require.Equal(t, 61357, got.UID)
	require.Contains(t, got.Env, "HOME=/")
}

func testGroup(t *testing.T, key string) {
	got := reportOf(t, conf{key: `"61358"`, "plugin.command": reachable(t)})
	require.Equal(t, os.Geteuid(), got.UID)
	require.Equal(t, 61358, got.GID)
	require.Contains(t, got.Env, "HOME="+os.Getenv("HOME"), "the user is the same")
}

func testLimitCPUs(t *testing.T, key string) {
	require.Contains(t, reportOf(t, conf{key: "2.5"}).Env, "GOMAXPROCS=3")
}

func testLimitMemory(t *testing.T, key string) {
	require.Contains(t, reportOf(t, conf{key: `"100MB"`}).Env, "GOMEMLIMIT=90000000")
}

func testSystemLimit(value, name, want string) keyTest {
	return func(t *testing.T, key string) {
		for line := range strings.Lines(reportOf(t, conf{key: value}).Limits) {
			if rest, ok := strings.CutPrefix(line, name+" "); ok {
				require.Equal(t, []string{want, want}, strings.Fields(rest)[:2])
				return
			}
		}
		require.Fail(t, "no such limit: "+name)
	}
}

// testLimitCgroup shows what the machine allows: the cgroup, or why there is
// none.
func testLimitCgroup(t *testing.T, key string) {
	leaf, err := cgroup.Create("probe", cgroup.Limits{})
	if err == nil {
		require.NoError(t, leaf.Remove())
		require.Contains(t, reportOf(t, conf{key: `"require"`}).Cgroup, "-test-")
		require.NotContains(t, reportOf(t, conf{key: `"off"`}).Cgroup, "-test-")
		return
	}
	b := runConfigured(t, newDatabase(t), conf{key: `"require"`})
	b.eventually("the start is refused", func() bool {
		return strings.Contains(b.plugin().Instances[0].LastError, "no cgroup of its own: "+err.Error())
	})
}
