package supervisor

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/protocol"
)

// FuzzHandshake: the first line of a plugin's output is anything. It is taken
// only as what the host and go-plugin speak, and else said to be what it is.
func FuzzHandshake(f *testing.F) {
	certificate := strings.Repeat("A", 64)
	for _, line := range []string{
		"", "\n", "1|1|unix|/tmp/p.sock|grpc", "1|1|unix|/tmp/p.sock|grpc|" + certificate, "1|1|tcp|127.0.0.1:1234|grpc\r\n", "1|1|unix|/p|netrpc",
		"1|2|unix|/p|grpc", "2|1|unix|/p|grpc", "x|1|unix|/p|grpc", "1|1|pipe|/p|grpc", "hello, world", "1|1", "|||", strings.Repeat("1|", 5000), "\xff\x00|1|unix",
		" 1|1|unix|/p|grpc||x", "1|99999999999999999999|unix|/p|grpc",
	} {
		f.Add([]byte(line), true)
		f.Add([]byte(line+"\nmore"), false)
	}
	f.Fuzz(func(t *testing.T, output []byte, tls bool) {
		got, err := readHandshake(bufio.NewReader(bytes.NewReader(output)), tls)
		if err == nil {
			require.Equal(t, [2]int{goPluginCore, protocol.Version}, [2]int{got.Core, got.Protocol})
			require.Contains(t, []string{"unix", "tcp"}, got.Network)
			require.Equal(t, "grpc", got.Type)
			require.Equal(t, tls, got.Certificate != "")
			require.True(t, bytes.Contains(output, []byte(got.Line)))
			again, err := readHandshake(bufio.NewReader(strings.NewReader(got.Line+"\n")), tls)
			require.NoError(t, err)
			require.Equal(t, got, again)
			return
		}
		var handshake *HandshakeError
		require.True(t, errors.As(err, &handshake))
		require.NotEmpty(t, handshake.Fault)
		require.LessOrEqual(t, len(handshake.Line), 200+len("…"))
		require.True(t, utf8.ValidString(handshake.Line))
		require.NotContains(t, err.Error(), "\n")
	})
}
