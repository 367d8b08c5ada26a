package pgmq

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// userTimeout bounds how long sent data may stay unacknowledged, in
// milliseconds: a peer that vanished is noticed in the middle of a statement.
func userTimeout(ms int) func(network, address string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error {
		if !strings.HasPrefix(network, "tcp") {
			return nil
		}
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms)
		})
		if err != nil {
			return err
		}
		return failed
	}
}
