package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// helperVariable makes the test binary a host in a cgroup of its own that hands
// a controller to its children.
const helperVariable = "CGROUP_TEST_CONTROLLER"

func TestMain(m *testing.M) {
	if controller := os.Getenv(helperVariable); controller != "" {
		os.Exit(helper(controller))
	}
	os.Exit(m.Run())
}

func helper(controller string) int {
	base, err := ownDirectory("/proc/self")
	// Twice: what has been done once must not stand in the way.
	for range 2 {
		err = errors.Join(err, enable(base, []string{controller}))
	}
	again, err2 := ownDirectory("/proc/self")
	own, err3 := os.ReadFile("/proc/self/cgroup")
	on, err4 := list(base, "cgroup.subtree_control")
	leaf, err5 := Create("x", Limits{})
	if err5 == nil {
		err5 = leaf.Remove()
	}
	if err := errors.Join(err, err2, err3, err4, err5); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(base == again, strings.Contains(string(own), "/"+hostLeaf+"\n"), on)
	return 0
}

// TestHostMakesRoomForItsChildren has a host that is in the cgroup which is
// delegated to it, with a controller that this machine has.
func TestHostMakesRoomForItsChildren(t *testing.T) {
	t.Parallel()
	base, err := ownDirectory("/proc/self")
	if err == nil {
		err = delegated(base)
	}
	if err != nil {
		t.Skip(err)
	}
	have, err := list(base, "cgroup.controllers")
	require.NoError(t, err)
	if len(have) == 0 {
		t.Skip("the host's cgroup has no controllers")
	}
	on, err := list(base, "cgroup.subtree_control")
	require.NoError(t, err)
	if err := enable(base, have[:1]); err != nil {
		t.Skip(err)
	}
	if len(on) == 0 {
		t.Cleanup(func() { require.NoError(t, write(filepath.Join(base, "cgroup.subtree_control"), "-"+have[0])) })
	}
	dir, err := os.MkdirTemp(base, "stephost-test-")
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = unix.Rmdir(filepath.Join(dir, hostLeaf))
		require.NoError(t, unix.Rmdir(dir))
	})
	handle, err := os.Open(dir)
	require.NoError(t, err)
	defer func() { _ = handle.Close() }()

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"="+have[0], "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(handle.Fd())}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, fmt.Sprintf("true true [%s]\n", have[0]), string(out))
}

// TestLeavesOfKilledHostsAreRemoved has one of a process that has ended, and one
// of this process.
func TestLeavesOfKilledHostsAreRemoved(t *testing.T) {
	t.Parallel()
	mine, err := Create("mine", Limits{})
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { require.NoError(t, mine.Remove()) })
	ended := exec.Command("true")
	require.NoError(t, ended.Run())
	left := filepath.Join(filepath.Dir(mine.path), fmt.Sprintf("stephost-%d-left", ended.Process.Pid))
	require.NoError(t, os.Mkdir(left, 0o755))
	other, err := Create("other", Limits{})
	require.NoError(t, err)
	require.NoError(t, other.Remove())
	require.NoDirExists(t, left)
	require.DirExists(t, mine.path)
}

func TestOwnDirectory(t *testing.T) {
	t.Parallel()
	const (
		hybrid  = "42 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
		unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
		bound   = "30 23 0:26 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup ro\n"
	)
	for name, c := range map[string]struct{ mounts, cgroup, want string }{
		"a service":     {unified, "0::/system.slice/stephost.service\n", "/sys/fs/cgroup/system.slice/stephost.service"},
		"moved already": {unified, "0::/system.slice/stephost.service/stephost-host\n", "/sys/fs/cgroup/system.slice/stephost.service"},
		"both versions": {"31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" + hybrid, "1:cpu:/x\n0::/\n", "/sys/fs/cgroup/unified"},
		"a container":   {bound, "0::/docker/abc/own\n", "/sys/fs/cgroup/own"},
		"elsewhere":     {bound, "0::/other\n", "error: the host's cgroup /other is not below the mounted one (/docker/abc)"},
		"version 1":     {"31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "1:cpu:/x\n", "error: no cgroup file system of version 2 is mounted"},
		"none":          {unified, "1:cpu:/x\n", "error: the host is in no cgroup of version 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proc := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(proc, "mountinfo"), []byte(c.mounts), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(proc, "cgroup"), []byte(c.cgroup), 0o600))
			got, err := ownDirectory(proc)
			if err != nil {
				got = "error: " + err.Error()
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestLimitsOfALeaf(t *testing.T) {
	t.Parallel()
	limits := Limits{CPUs: 1.5, Memory: 1 << 20, Processes: 9}
	require.Equal(t, []string{"cpu", "memory", "pids"}, limits.controllers())
	require.Equal(t, map[string]string{
		"cpu.max": "150000 100000", "memory.max": "1048576", "memory.oom.group": "1", "pids.max": "9",
	}, limits.files())
	require.Empty(t, Limits{}.files())
	require.Equal(t, "1000 100000", Limits{CPUs: 0.001}.files()["cpu.max"], "the kernel takes no less")
}

// TestOutOfMemory reads what the kernel writes into a leaf that has the memory
// controller.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	leaf := &Leaf{path: t.TempDir()}
	require.False(t, leaf.OutOfMemory())
	for text, want := range map[string]bool{"low 0\noom 0\noom_kill 0\n": false, "oom 1\noom_kill 2\noom_group_kill 1\n": true} {
		require.NoError(t, os.WriteFile(filepath.Join(leaf.path, "memory.events"), []byte(text), 0o600))
		require.Equal(t, want, leaf.OutOfMemory())
	}
}
