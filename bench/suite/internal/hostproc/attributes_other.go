//go:build !linux

package hostproc

import "syscall"

// attributes put a host into a session of its own, so that Ctrl-C reaches the
// suite alone.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
