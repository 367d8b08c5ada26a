package hostproc

import "syscall"

// attributes put a host into a session of its own, so that Ctrl-C reaches the
// suite alone, and end it with a suite that is killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}
