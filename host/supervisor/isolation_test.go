package supervisor_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
)

// surroundings is what the test plugin's step "self" sees.
type surroundings struct {
	Dir              string
	UID, GID         int
	Groups           []int
	Env              []string
	Limits           string
	Cgroup           string
	ManyFiles        string // the error of opening 300 files
	LargeFile        string // the error of writing 64 KiB into a file
	Children         int    // how many child processes could be started
	DeathSignalIsSet bool
}

func (b *bench) surroundings(t *testing.T) surroundings {
	t.Helper()
	var s surroundings
	require.NoError(t, json.Unmarshal([]byte(b.run(t, "self", "").output()), &s))
	return s
}

// limit is the soft and the hard limit in the text of a process's limits.
func limit(t *testing.T, limits, name string) []string {
	t.Helper()
	for line := range strings.Lines(limits) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.Fields(rest)[:2]
		}
	}
	require.FailNow(t, "no such limit: "+name, limits)
	return nil
}

func limitsOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/limits")
	require.NoError(t, err)
	return string(text)
}

// reachable is a copy of the test binary where every user may execute it.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "plugin")
	from, err := os.Open(testBinary(t))
	require.NoError(t, err)
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(to, from)
	require.NoError(t, err)
	require.NoError(t, to.Close())
	return path
}

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run a plugin as another user")
	}
}

func TestLimitsBindThePluginAndNobodyElse(t *testing.T) {
	t.Parallel()
	before := limitsOf(t, os.Getpid())
	s := spec(t, "")
	var none int64
	s.Limits = supervisor.Limits{OpenFiles: 100, FileSize: 1 << 15, Core: &none, Processes: 12345}
	b := startReady(t, s)

	got := b.surroundings(t)
	require.Equal(t, []string{"100", "100"}, limit(t, got.Limits, "Max open files"))
	require.Equal(t, []string{"32768", "32768"}, limit(t, got.Limits, "Max file size"))
	require.Equal(t, []string{"0", "0"}, limit(t, got.Limits, "Max core file size"))
	require.Equal(t, []string{"12345", "12345"}, limit(t, got.Limits, "Max processes"))
	require.Contains(t, got.ManyFiles, "too many open files")
	require.Contains(t, got.LargeFile, "file too large")
	require.True(t, got.DeathSignalIsSet)

	require.Equal(t, before, limitsOf(t, os.Getpid()), "the host's own")
	for _, name := range []string{"Max file size", "Max processes"} {
		shims := limit(t, limitsOf(t, parentOf(t, b.Status().Instances[0].PID)), name)
		require.Equal(t, limit(t, before, name), shims, "the shim's own")
	}
}

func TestWithoutLimitsThePluginHasTheHosts(t *testing.T) {
	t.Parallel()
	got := startReady(t, spec(t, "")).surroundings(t)
	require.Empty(t, got.ManyFiles)
	require.Empty(t, got.LargeFile)
	for _, name := range []string{"Max file size", "Max processes", "Max core file size"} {
		require.Equal(t, limit(t, limitsOf(t, os.Getpid()), name), limit(t, got.Limits, name))
	}
	require.NotContains(t, strings.Join(got.Env, "\n"), "GOMAXPROCS=")
	require.NotContains(t, strings.Join(got.Env, "\n"), "GOMEMLIMIT=")
}

func TestWorkingDirectory(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	s := spec(t, "")
	s.Dir = dir
	require.Equal(t, dir, startReady(t, s).surroundings(t).Dir)

	s.Dir = filepath.Join(dir, "none")
	require.Contains(t, start(t, s).awaitFailure(t), "change to the directory "+s.Dir+": no such file or directory")
}

func TestGoIsToldItsLimits(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Limits = supervisor.Limits{CPUs: 1.5, Memory: 1 << 30}
	env := startReady(t, s).surroundings(t).Env
	require.Contains(t, env, "GOMAXPROCS=2")
	require.Contains(t, env, "GOMEMLIMIT=966367638")

	s.Env["GOMAXPROCS"], s.Env["GOMEMLIMIT"] = "7", "1GiB"
	env = startReady(t, s).surroundings(t).Env
	require.Contains(t, env, "GOMAXPROCS=7")
	require.Contains(t, env, "GOMEMLIMIT=1GiB")
}

func TestEnvironmentIsPassedOnByName(t *testing.T) {
	t.Setenv("SUPERVISOR_TEST_REGION", "eu")
	t.Setenv("SUPERVISOR_TEST_ZONE", "a")
	t.Setenv("SUPERVISOR_TEST_SECRET", "hush")
	s := spec(t, "")
	s.EnvFrom = []string{"SUPERVISOR_TEST_REGION", "SUPERVISOR_TEST_ZONE", "SUPERVISOR_TEST_UNSET"}
	s.Env["SUPERVISOR_TEST_ZONE"] = "b"
	env := startReady(t, s).surroundings(t).Env
	require.Contains(t, env, "SUPERVISOR_TEST_REGION=eu")
	require.Contains(t, env, "SUPERVISOR_TEST_ZONE=b", "what is written wins")
	text := strings.Join(env, "\n")
	require.NotContains(t, text, "SUPERVISOR_TEST_UNSET")
	require.NotContains(t, text, "hush")
	require.Equal(t, 1, strings.Count(text, "SUPERVISOR_TEST_ZONE"))

	s.EnvFrom = []string{"PLUGIN_MIN_PORT"}
	_, err := supervisor.Start(s, deps(t, &logBuffer{}))
	require.ErrorContains(t, err, "PLUGIN_MIN_PORT is reserved")
}

func TestPluginRunsAsAnotherUser(t *testing.T) {
	t.Parallel()
	asRoot(t)
	s := quickRestart(t, "")
	s.Command, s.User, s.Dir = reachable(t), "nobody", "/"
	s.Limits.OpenFiles = 64
	b := meddling(t, s, "groups", "")
	b.awaitReady(t)

	got := b.surroundings(t)
	require.NotZero(t, got.UID)
	require.NotZero(t, got.GID)
	require.Empty(t, got.Groups)
	require.Contains(t, got.Env, "HOME=/nonexistent")
	require.Equal(t, []string{"64", "64"}, limit(t, got.Limits, "Max open files"))
	require.True(t, got.DeathSignalIsSet, "a change of user switches it off")
	b.echoes(t)

	pid := b.Status().Instances[0].PID
	require.NoError(t, syscall.Kill(parentOf(t, pid), syscall.SIGKILL))
	awaitGone(t, pid)
	b.awaitStatus(t, func(s supervisor.Status) bool {
		return s.State == supervisor.StateReady && s.Instances[0].Restarts == 1
	})
	pid = b.Status().Instances[0].PID
	stop(t, b.Plugin)
	awaitGone(t, pid)
}

// TestProcessesAreLimited has a user id that nobody else has.
func TestProcessesAreLimited(t *testing.T) {
	t.Parallel()
	asRoot(t)
	s := spec(t, "children")
	s.Command, s.User, s.Group = reachable(t), "61357", "61358"
	s.Limits.Processes = 60
	got := startReady(t, s).surroundings(t)
	require.Equal(t, 61357, got.UID)
	require.Equal(t, 61358, got.GID)
	require.Contains(t, got.Env, "HOME=/")
	require.Positive(t, got.Children)
	require.Less(t, got.Children, 60)
}

func TestRefusedIsolationSaysWhy(t *testing.T) {
	t.Parallel()
	asRoot(t)
	for name, c := range map[string]struct {
		change func(*supervisor.Spec)
		want   string
	}{
		"unknown user":  {func(s *supervisor.Spec) { s.User = "no-such-user" }, `there is no user "no-such-user" on this machine`},
		"unknown group": {func(s *supervisor.Spec) { s.Group = "no-such-group" }, `there is no group "no-such-group" on this machine`},
		"unknown id":    {func(s *supervisor.Spec) { s.User = "61357" }, "its group must be named too"},
		"hidden program": {func(s *supervisor.Spec) {
			s.Command = filepath.Join(t.TempDir(), "plugin")
			require.NoError(t, os.WriteFile(s.Command, []byte("#!/bin/sh\n"), 0o700))
			s.User = "nobody"
		}, "its user may not execute it"},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(t, "")
			c.change(&s)
			require.Contains(t, start(t, s).awaitFailure(t), c.want)
		})
	}
}

// TestOrdinaryHost runs itself again as an ordinary user where it is root.
func TestOrdinaryHost(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		ordinaryHost(t)
		return
	}
	cmd := exec.Command(reachable(t), "-test.run=^TestOrdinaryHost$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61359, Gid: 61359}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "--- PASS: TestOrdinaryHost/")
}

func ordinaryHost(t *testing.T) {
	var limits syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limits))
	t.Run("may lower limits", func(t *testing.T) {
		s := spec(t, "")
		s.Limits.OpenFiles = 64
		s.User = strconv.Itoa(os.Geteuid())
		s.Group = strconv.Itoa(os.Getegid())
		got := startReady(t, s).surroundings(t)
		require.Equal(t, []string{"64", "64"}, limit(t, got.Limits, "Max open files"))
		require.Equal(t, os.Geteuid(), got.UID)
	})
	t.Run("may not raise them", func(t *testing.T) {
		s := spec(t, "")
		s.Limits.OpenFiles = int(limits.Max) + 1
		require.Contains(t, start(t, s).awaitFailure(t), "set the limit open_files to "+strconv.Itoa(s.Limits.OpenFiles)+
			": operation not permitted: the host's own limit is lower, or only root may do this")
	})
	t.Run("may not change the user", func(t *testing.T) {
		s := spec(t, "")
		s.User = "root"
		require.Contains(t, start(t, s).awaitFailure(t), "only a host that runs as root can run a plugin as another user")
	})
	t.Run("may have no cgroup", func(t *testing.T) {
		s := spec(t, "")
		s.Limits.Cgroup = supervisor.CgroupRequire
		b := start(t, s)
		if failure := b.failureUnlessReady(t); failure != "" {
			require.Contains(t, failure, "no cgroup of its own: ")
		}
	})
}

// failureUnlessReady is empty where the plugin became ready.
func (b *bench) failureUnlessReady(t *testing.T) string {
	t.Helper()
	s := b.awaitStatus(t, func(s supervisor.Status) bool {
		return s.State == supervisor.StateReady || s.Instances[0].LastError != ""
	})
	return s.Instances[0].LastError
}

func TestShimRefusesOtherUse(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"stage"}, {"/bin/true", "true"}, {"{}", "/bin/true"}} {
		command := append(shimCommand(t), args...)
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		require.ErrorContains(t, err, "exit status 2")
		require.Contains(t, string(out), "for the host's own use")
	}
}
