package world

import "syscall"

// attributes puts a host into a session of its own, so that Ctrl-C reaches the
// driver alone, and ends it with a driver that is killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}
