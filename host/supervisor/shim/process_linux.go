package shim

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes puts the plugin into a group of its own and lets the kernel kill
// it if somebody kills the shim.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// waitExit returns when the process has ended, and does not reap it.
func waitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func signalName(s syscall.Signal) string { return unix.SignalName(s) }
