//go:build !linux

package pgmq

import "syscall"

// userTimeout has no equivalent here; keepalives find a vanished peer.
func userTimeout(int) func(network, address string, c syscall.RawConn) error { return nil }
