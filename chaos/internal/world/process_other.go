//go:build !linux

package world

import "syscall"

// attributes puts a host into a session of its own, so that Ctrl-C reaches the
// driver alone.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
