// Package shim stands between the host and a plugin process, so that no
// plugin in any language outlives its host.
//
// The host starts its own binary again as the shim, and the shim starts the
// plugin in a process group of its own. The two talk over two pipes:
//
//   - The leash runs from the host to the shim. The byte 't' asks for SIGTERM
//     to the group. The end of the pipe, which also comes when the host is
//     killed by SIGKILL, means SIGKILL to the group.
//   - The report runs from the shim to the host: one line when the plugin has
//     started or could not be, and one when it has ended.
//
// # Invariants
//
//   - Signals to the group come only from the shim, which is the plugin's
//     parent, and only while the plugin is not reaped. So they never hit a
//     stranger that was given the same process id.
//   - When the plugin ends, what is left of its group is killed, so that a
//     grandchild that holds stderr cannot hide the death.
//   - The plugin inherits neither pipe.
//   - The directory for the plugin's socket, which the host has made for this one
//     process, goes with it.
//   - Limits, user, cgroup and directory are the plugin's alone: they are set
//     in its process before its program runs, by way of this binary.
//   - The shim ignores the terminal's and the service manager's signals: the
//     host decides when plugins end. The plugin gets default dispositions.
package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/hashicorp/go-plugin"
)

// Command is the hidden argument by which a binary tells that it is to run
// [Main]. It comes first, before anything else is looked at.
const Command = "plugin-shim"

// The file descriptors that the shim inherits beside the standard ones.
// ProgramFD is there only where the host has verified the program's hash: the
// path in the arguments then names this descriptor. A cgroup's descriptor comes
// after these; [Setup] has its number.
const (
	LeashFD   = 3
	ReportFD  = 4
	ProgramFD = 5
)

// LeashTerminate is the byte on the leash that asks for SIGTERM.
const LeashTerminate = 't'

// Main runs the plugin. args are what follows [Command], made by [Arguments].
// It returns the exit code for the shim's process: the plugin's own, or 128 and
// the signal's number.
func Main(args []string) int {
	staged := len(args) > 0 && args[0] == stageCommand
	if staged {
		args = args[1:]
	}
	var setup Setup
	if len(args) < 3 || json.Unmarshal([]byte(args[0]), &setup) != nil {
		fmt.Fprintln(os.Stderr, "plugin-shim: this is for the host's own use")
		return 2
	}
	if staged {
		return stage(setup, args[1:])
	}
	return supervise(setup, args[1:])
}

// supervise starts the plugin and stays until it has ended.
func supervise(setup Setup, args []string) int {
	// The kernel binds the parent-death signal to the thread that forks; this
	// one lives as long as the shim does.
	runtime.LockOSThread()
	syscall.CloseOnExec(LeashFD)
	syscall.CloseOnExec(ReportFD)
	leash := os.NewFile(LeashFD, "leash")
	report := os.NewFile(ReportFD, "report")

	// Caught and thrown away rather than ignored: an ignored signal would stay
	// ignored in the plugin.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)

	cmd, err := start(setup, args)
	if err != nil {
		writeFailed(report, err)
		return 127
	}
	// Only the plugin may hold these, else their end would not show its own.
	_ = os.Stdout.Close()
	_ = os.Stderr.Close()
	fmt.Fprintf(report, "%s %d\n", wordStarted, cmd.Process.Pid)

	g := &group{id: cmd.Process.Pid}
	go obey(leash, g)
	waitExit(cmd.Process.Pid)
	g.end()
	_ = cmd.Wait()
	// A host that was killed cannot remove what it has made.
	if dir := os.Getenv(plugin.EnvUnixSocketDir); dir != "" {
		_ = os.RemoveAll(dir)
	}
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return writeEnded(report, status)
}

// start executes the program, directly where nothing is to be set up.
func start(setup Setup, args []string) (*exec.Cmd, error) {
	if !setup.empty() {
		return startStaged(setup, args)
	}
	cmd := &exec.Cmd{
		Path:        args[0],
		Args:        args[1:],
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		SysProcAttr: attributes(),
	}
	return cmd, cmd.Start()
}

// obey does what the leash says until it ends.
func obey(leash io.Reader, g *group) {
	buf := make([]byte, 16)
	for {
		n, err := leash.Read(buf)
		for _, b := range buf[:n] {
			if b == LeashTerminate {
				g.signal(syscall.SIGTERM)
			}
		}
		if err != nil {
			g.signal(syscall.SIGKILL)
			return
		}
	}
}

func writeFailed(w io.Writer, err error) {
	failed := &stageError{step: stepExec}
	if !errors.As(err, &failed) {
		_ = errors.As(err, &failed.errno)
	}
	fmt.Fprintf(w, "%s %d %d %d\n", wordFailed, int(failed.errno), failed.step, failed.n)
}

func writeEnded(w io.Writer, status syscall.WaitStatus) int {
	if status.Signaled() {
		fmt.Fprintf(w, "%s %d\n", wordSignaled, int(status.Signal()))
		return 128 + int(status.Signal())
	}
	fmt.Fprintf(w, "%s %d\n", wordExited, status.ExitStatus())
	return status.ExitStatus()
}
