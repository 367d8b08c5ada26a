package supervisor_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/host/supervisor/cgroup"
)

// withCgroup skips where this machine does not let the tests have a cgroup
// with such limits.
func withCgroup(t *testing.T, limits cgroup.Limits) {
	t.Helper()
	if err := cgroupError(limits); err != nil {
		t.Skip(err)
	}
}

func cgroupError(limits cgroup.Limits) error {
	leaf, err := cgroup.Create("probe", limits)
	if err != nil {
		return err
	}
	return leaf.Remove()
}

// leafOf is the directory of the cgroup that the plugin says it is in.
func leafOf(t *testing.T, s surroundings) string {
	t.Helper()
	for line := range strings.Lines(s.Cgroup) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			require.Contains(t, filepath.Base(path), "stephost-"+strconv.Itoa(os.Getpid())+"-orders-")
			for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
				if dir := filepath.Join(mount, path); exists(filepath.Join(dir, "cgroup.procs")) {
					return dir
				}
			}
		}
	}
	require.FailNow(t, "it is in no cgroup", s.Cgroup)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestNothingEscapesACgroup has a child of the plugin that leaves its process
// group.
func TestNothingEscapesACgroup(t *testing.T) {
	t.Parallel()
	withCgroup(t, cgroup.Limits{})
	s := quickRestart(t, "grandchild-apart")
	s.Env["ARG"] = filepath.Join(t.TempDir(), "pid")
	s.Limits.Cgroup = supervisor.CgroupRequire
	b := startReady(t, s)
	first := leafOf(t, b.surroundings(t))
	grandchild := pidIn(t, s.Env["ARG"])

	require.ErrorContains(t, b.run(t, "sigkill", "").lost, "SIGKILL")
	awaitGone(t, grandchild)
	b.awaitStatus(t, func(s supervisor.Status) bool {
		return s.State == supervisor.StateReady && s.Instances[0].Restarts == 1
	})
	require.NoDirExists(t, first)
	second := leafOf(t, b.surroundings(t))
	require.NotEqual(t, first, second)
	grandchild = pidIn(t, s.Env["ARG"])
	stop(t, b.Plugin)
	awaitGone(t, grandchild)
	require.NoDirExists(t, second)
}

func pidIn(t *testing.T, path string) int {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	pid, err := strconv.Atoi(string(content))
	require.NoError(t, err)
	return pid
}

func TestCgroupOfAnotherUser(t *testing.T) {
	t.Parallel()
	asRoot(t)
	withCgroup(t, cgroup.Limits{})
	s := spec(t, "")
	s.Command, s.User = reachable(t), "nobody"
	s.Limits.Cgroup = supervisor.CgroupRequire
	b := startReady(t, s)
	got := b.surroundings(t)
	require.NotZero(t, got.UID)
	leafOf(t, got)
}

func cgroupLimits() (supervisor.Limits, cgroup.Limits) {
	return supervisor.Limits{CPUs: 0.5, Memory: 512 << 20, Processes: 500},
		cgroup.Limits{CPUs: 0.5, Memory: 512 << 20, Processes: 500}
}

func TestCgroupLimits(t *testing.T) {
	t.Parallel()
	var s supervisor.Spec
	limits, wanted := cgroupLimits()
	withCgroup(t, wanted)
	s = spec(t, "")
	s.Limits = limits
	s.Limits.Cgroup = supervisor.CgroupRequire
	leaf := leafOf(t, startReady(t, s).surroundings(t))
	for file, want := range map[string]string{"cpu.max": "50000 100000", "memory.max": "536870912", "pids.max": "500"} {
		got, err := os.ReadFile(filepath.Join(leaf, file))
		require.NoError(t, err)
		require.Equal(t, want, strings.TrimSpace(string(got)))
	}
}

func TestMissingCgroupIsExplained(t *testing.T) {
	t.Parallel()
	limits, wanted := cgroupLimits()
	reason := cgroupError(wanted)
	if reason == nil {
		t.Skip("this machine has all controllers")
	}
	s := spec(t, "")
	s.Limits = limits
	s.Limits.Cgroup = supervisor.CgroupRequire
	require.Contains(t, start(t, s).awaitFailure(t), "no cgroup of its own: "+reason.Error())

	s.Limits.Cgroup = supervisor.CgroupAuto
	b := startReady(t, s)
	line := b.log.await(t, "plugin runs without a cgroup of its own")
	require.Contains(t, line, `"@level":"warn"`)
	require.Contains(t, line, reason.Error())
	require.Contains(t, b.surroundings(t).Env, "GOMAXPROCS=1")
}
