package supervisor_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// bloat is an output in place of which the test plugin sends a message that is
// larger than the limit.
const bloat = `"bloat"`

// sizeOptions make the test plugin break the limits.
func sizeOptions(mode string) []grpc.ServerOption {
	switch mode {
	case "small-receiver":
		return []grpc.ServerOption{grpc.MaxRecvMsgSize(4 << 20)}
	case "large-sender":
		return []grpc.ServerOption{grpc.MaxSendMsgSize(1 << 30), grpc.ForceServerCodecV2(bloater{})}
	}
	return nil
}

// bloater makes such a message out of one piece of memory.
type bloater struct{}

func (bloater) Name() string { return proto.Name }

func (bloater) Unmarshal(data mem.BufferSlice, v any) error {
	return encoding.GetCodecV2(proto.Name).Unmarshal(data, v)
}

func (bloater) Marshal(v any) (mem.BufferSlice, error) {
	if resp, ok := v.(*pluginv1.ExecuteResponse); ok {
		for _, r := range resp.GetResults() {
			if string(r.GetSuccess().GetOutput()) == bloat {
				piece := mem.SliceBuffer(make([]byte, 1<<20))
				var all mem.BufferSlice
				for range protocol.MaxMessageBytes>>20 + 1 {
					all = append(all, piece)
				}
				return all, nil
			}
		}
	}
	return encoding.GetCodecV2(proto.Name).Marshal(v)
}

// TestTooLargeMessageNamesTheLimit: what the plugin has sent is the end of the
// process, which is how the message that did it is found.
func TestTooLargeMessageNamesTheLimit(t *testing.T) {
	t.Parallel()
	b := startReady(t, quickRestart(t, "large-sender"))
	err := b.run(t, "echo", bloat).lost
	require.ErrorContains(t, err, "it sent a message above the limit of 257 MiB (270532608 vs. 269484032)")
	var crash *supervisor.CrashError
	require.ErrorAs(t, err, &crash)
	require.True(t, crash.Alone())
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateReady && s.Crashes == 1 })
	b.echoes(t)
}

// TestPluginThatTakesLittleIsExplained has a server with gRPC's usual limit of
// 4 MiB.
func TestPluginThatTakesLittleIsExplained(t *testing.T) {
	t.Parallel()
	b := startReady(t, quickRestart(t, "small-receiver"))
	b.echoes(t)
	err := b.run(t, "echo", `"`+strings.Repeat("x", 5<<20)+`"`).lost
	require.ErrorContains(t, err, "it does not take a message as large as the host sent (")
	require.ErrorContains(t, err, "its gRPC server must take up to 257 MiB")
}
