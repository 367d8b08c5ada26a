package sdktest_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/sdktest"
)

// asPlugin makes the test binary the plugin of the examples.
const asPlugin = "SDKTEST_AS_PLUGIN"

// What a test sees is what a process of the same plugin answers to a host.
func TestProcessAnswersAlike(t *testing.T) {
	t.Parallel()

	stream := startProcess(t, `{"currency": "EUR", "patience": "30s"}`)
	h := sdktest.StartWith(t, setup, sdktest.Config(`currency = "EUR"`))
	for i, message := range []string{
		`{"OrderID": "17", "Cents": 1999}`,  // completed, with a message
		`{"OrderID": "17", "Cents": 20000}`, // retry after
		`{"OrderID": "17"}`,                 // permanent
		`{"Cents": "many"}`,                 // does not decode
	} {
		require.NoError(t, stream.Send(&pluginv1.ExecuteRequest{Steps: []*pluginv1.Step{
			{Id: uint64(i), Namespace: "test", Step: "charge", Input: []byte(message), Attempt: 1},
		}}))
		answer, err := stream.Recv()
		require.NoError(t, err)
		wire := answer.GetResults()[0]

		r := h.Run("charge", message)
		require.Equal(t, json.RawMessage(wire.GetSuccess().GetOutput()), r.Output)
		require.Len(t, r.Emitted, len(wire.GetSuccess().GetEmits()))
		for j, emit := range wire.GetSuccess().GetEmits() {
			require.Equal(t, sdktest.Message{Target: sdk.ToNamespace(emit.GetNamespace()), Body: emit.GetBody()}, r.Emitted[j])
		}
		require.Equal(t, wire.GetFailure() == nil, r.Failure == nil)
		if f := wire.GetFailure(); f != nil {
			require.Equal(t, sdktest.Failure{Type: f.GetType(), Message: f.GetMessage()}, *r.Failure)
			require.Equal(t, f.GetVerdict() == pluginv1.FailureVerdict_FAILURE_VERDICT_PERMANENT, r.Verdict == sdktest.Permanent)
			require.Equal(t, time.Duration(f.GetRetryAfterMs())*time.Millisecond, r.Delay)
		}
	}
	require.NoError(t, stream.CloseSend())
	_, err := stream.Recv()
	require.ErrorIs(t, err, io.EOF)
}

// startProcess starts the plugin as a host does and opens a stream.
func startProcess(t *testing.T, config string) pluginv1.PluginService_ExecuteClient {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asPlugin+"=1")
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  protocol.Handshake(),
		VersionedPlugins: protocol.ClientPlugins(),
		Cmd:              cmd,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		GRPCDialOptions:  protocol.DialOptions(),
		Logger:           hclog.NewNullLogger(),
		Stderr:           io.Discard,
	})
	t.Cleanup(client.Kill)
	conn, err := client.Client()
	require.NoError(t, err)
	raw, err := conn.Dispense(protocol.PluginName)
	require.NoError(t, err)
	plugin := raw.(*protocol.Client)
	configured, err := plugin.Configure(t.Context(), &pluginv1.ConfigureRequest{Config: []byte(config)})
	require.NoError(t, err)
	require.Empty(t, configured.GetDiagnostics())
	stream, err := plugin.Execute(t.Context())
	require.NoError(t, err)
	return stream
}
