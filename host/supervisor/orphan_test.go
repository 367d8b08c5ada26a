package supervisor_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/host/supervisor/shim"
)

// hostVariable makes the test binary a host that runs a command as its plugin.
const hostVariable = "SUPERVISOR_TEST_HOST"

func runTestHost(command string) {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	_, err = supervisor.Start(supervisor.Spec{
		Name: "orphan", Command: command,
		Env:      map[string]string{modeVariable: "", "ARG": os.Getenv("ARG")},
		Timeouts: supervisor.Timeouts{Start: time.Minute},
	}, supervisor.Deps{Shim: []string{self, shim.Command}})
	if err != nil {
		panic(err)
	}
	select {}
}

// TestDeadHostLeavesNoPlugin kills a host by SIGKILL under a plugin that is a
// shell script and under its child. Not even their directory is left.
func TestDeadHostLeavesNoPlugin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pids := filepath.Join(dir, "pids")
	sockets, err := os.MkdirTemp("", "s")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	host := startTestHost(t, scriptIn(t, dir), pids, "TMPDIR="+sockets)
	plugin, child := awaitPIDs(t, pids)
	made, err := os.ReadDir(sockets)
	require.NoError(t, err)
	require.Len(t, made, 1)

	require.NoError(t, host.Process.Kill())
	_ = host.Wait()
	awaitGone(t, plugin)
	awaitGone(t, child)
	require.Eventually(t, func() bool {
		left, err := os.ReadDir(sockets)
		return err == nil && len(left) == 0
	}, patience, 5*time.Millisecond)
}

// TestKilledShimTakesThePluginAlong has the second line of defence.
func TestKilledShimTakesThePluginAlong(t *testing.T) {
	t.Parallel()
	b := startReady(t, quickRestart(t, ""))
	pid := b.Status().Instances[0].PID
	require.NoError(t, syscall.Kill(parentOf(t, pid), syscall.SIGKILL))
	awaitGone(t, pid)
	b.awaitStatus(t, func(s supervisor.Status) bool {
		return s.State == supervisor.StateReady && s.Instances[0].Restarts == 1
	})
}

// TestServiceManagersSignalsLeaveTheShim has SIGTERM to everybody, as a
// service manager sends it, and SIGINT, as a terminal does.
func TestServiceManagersSignalsLeaveTheShim(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	theShim := parentOf(t, b.Status().Instances[0].PID)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		require.NoError(t, syscall.Kill(theShim, sig))
	}
	b.echoes(t)
	require.Zero(t, b.Status().Instances[0].Restarts)
}

// TestPluginGetsDefaultSignals: what the shim catches must not be ignored in
// the plugin, which then could not be asked to end.
func TestPluginGetsDefaultSignals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pids := filepath.Join(dir, "pids")
	startTestHost(t, scriptIn(t, dir), pids)
	plugin, _ := awaitPIDs(t, pids)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", plugin))
	require.NoError(t, err)
	_, after, found := strings.Cut(string(status), "SigIgn:\t")
	require.True(t, found)
	ignored, err := strconv.ParseUint(after[:16], 16, 64)
	require.NoError(t, err)
	require.Zero(t, ignored&(1<<(syscall.SIGTERM-1)|1<<(syscall.SIGINT-1)|1<<(syscall.SIGHUP-1)))
}

func scriptIn(t *testing.T, dir string) string {
	script := filepath.Join(dir, "plugin.sh")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\nsleep 1000 &\necho $$ $! > $ARG.part\nmv $ARG.part $ARG\nwait\n"), 0o755))
	return script
}

func startTestHost(t *testing.T, command, arg string, env ...string) *exec.Cmd {
	t.Helper()
	host := exec.CommandContext(context.Background(), testBinary(t))
	host.Env = append(append(os.Environ(), hostVariable+"="+command, "ARG="+arg), env...)
	host.Stderr = os.Stderr
	require.NoError(t, host.Start())
	t.Cleanup(func() {
		_ = host.Process.Kill()
		_ = host.Wait()
	})
	return host
}

func awaitPIDs(t *testing.T, file string) (plugin, child int) {
	t.Helper()
	require.Eventually(t, func() bool { _, err := os.Stat(file); return err == nil }, patience, 5*time.Millisecond)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	_, err = fmt.Sscan(string(content), &plugin, &child)
	require.NoError(t, err)
	return plugin, child
}

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	parent, err := strconv.Atoi(fields[1])
	require.NoError(t, err)
	return parent
}
