//go:build unix && !linux

package shim

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes puts the plugin into a group of its own.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// keepParentDeathSignal has nothing to keep.
func keepParentDeathSignal() error { return nil }

// joinCgroup fails: there are no cgroups.
func joinCgroup(int) error { return syscall.ENOSYS }

// waitExit returns when the process has ended, and does not reap it.
func waitExit(pid int) {
	kq, err := unix.Kqueue()
	if err != nil {
		return
	}
	defer unix.Close(kq)
	ev := make([]unix.Kevent_t, 1)
	unix.SetKevent(&ev[0], pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	ev[0].Fflags = unix.NOTE_EXIT
	for {
		n, err := unix.Kevent(kq, ev, ev, nil)
		if n > 0 || err != unix.EINTR {
			return
		}
	}
}

func signalName(s syscall.Signal) string { return unix.SignalName(s) }
