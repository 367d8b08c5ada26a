package protocol_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/protocol"
)

func TestAttachmentCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		network, address string
		version          int
		want             string
	}{
		{"unix", "/tmp/p.sock", 1, ""},
		{"tcp", "127.0.0.1:5000", 1, ""},
		{"tcp", "[::1]:5000", 1, ""},
		{"unix", "p.sock", 1, "not an absolute path"},
		{"tcp", "192.0.2.1:5000", 1, "loopback"},
		{"tcp", "localhost:5000", 1, "loopback"},
		{"tcp", "5000", 1, "host:port"},
		{"udp", "127.0.0.1:5000", 1, "neither"},
		{"unix", "/tmp/p.sock", 2, "version 2"},
	} {
		err := protocol.Attachment{Network: c.network, Address: c.address, Protocol: c.version}.Check()
		if c.want == "" {
			require.NoError(t, err, c)
			continue
		}
		require.ErrorContains(t, err, c.want)
	}
}
