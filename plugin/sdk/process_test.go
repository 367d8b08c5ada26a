package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
)

// servePlugin is the main function of the plugin that the tests start.
func servePlugin() {
	sdk.Main(
		sdk.Name("sample"), sdk.Version("v9"),
		sdk.HandleRaw("print", func(context.Context, []byte) ([]byte, error) {
			fmt.Println(`1|1|unix|/nowhere|grpc|`)
			_, err := fmt.Fprintln(os.Stderr, "by hand")
			return []byte(`"printed"`), err
		}),
		sdk.HandleRaw("log", func(ctx context.Context, _ []byte) ([]byte, error) {
			log.Print("[WARN] by log")
			slog.Error("by slog", "n", 1)
			slog.With("a", 1).ErrorContext(ctx, "by slog with the context", "n", 1)
			sdk.Slog(ctx).ErrorContext(ctx, "by Slog")
			hclog.Default().Info("by hclog")
			sdk.Logger(ctx).Info("by Logger")
			return nil, nil
		}),
		sdk.HandleRaw("signal", func(context.Context, []byte) ([]byte, error) {
			return nil, errors.Join(
				syscall.Kill(os.Getpid(), syscall.SIGTERM),
				syscall.Kill(os.Getpid(), syscall.SIGINT))
		}),
		sdk.OnClose(func() error { log.Print("closed"); return nil }),
		sdk.OnClose(func() error { return errors.New("will not close") }),
	)
}

func selfAsPlugin(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asPlugin+"=1")
	return cmd
}

func TestRunByHand(t *testing.T) {
	t.Parallel()

	var stdout, stderr strings.Builder
	cmd := selfAsPlugin(t)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Run(), &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.Empty(t, stdout.String())
	require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
	require.True(t, strings.HasPrefix(stderr.String(), "sample v9 is a stephost plugin and runs inside a host"), stderr.String())
}

func TestProcess(t *testing.T) {
	t.Parallel()

	var stderr, stdout lockedBuffer
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  protocol.Handshake(),
		VersionedPlugins: protocol.ClientPlugins(),
		Cmd:              selfAsPlugin(t),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		GRPCDialOptions:  protocol.DialOptions(),
		Logger:           hclog.NewNullLogger(),
		Stderr:           &stderr,
		SyncStdout:       &stdout,
		SyncStderr:       io.Discard,
	})
	defer client.Kill()
	conn, err := client.Client()
	require.NoError(t, err)
	raw, err := conn.Dispense(protocol.PluginName)
	require.NoError(t, err)
	h := &host{t: t, client: raw.(*protocol.Client)}
	require.Empty(t, h.configure(nil).GetDiagnostics())

	require.JSONEq(t, `"printed"`, string(h.callStep("print", "{}").GetSuccess().GetOutput()))
	require.NotNil(t, h.callStep("signal", "{}").GetSuccess())
	require.NotNil(t, h.callStep("log", "{}").GetSuccess())
	h.call(&pluginv1.Step{Id: 1, Step: "print", Input: make([]byte, 5<<20)}) // beyond gRPC's own limit
	client.Kill()

	levels, steps := map[string]any{}, map[string]any{}
	for line := range strings.Lines(stderr.String()) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		levels[fmt.Sprint(fields["@message"])] = fields["@level"]
		steps[fmt.Sprint(fields["@message"])] = fields["step"]
		require.LessOrEqual(t, strings.Count(line, `"step"`), 1, line)
	}
	require.Equal(t, "log", steps["by slog with the context"])
	require.Equal(t, "log", steps["by Slog"])
	require.Equal(t, "log", steps["by Logger"])
	require.Nil(t, steps["by slog"], "nothing tells whose line it is")
	require.Nil(t, steps["by log"], "nothing tells whose line it is")
	for message, level := range map[string]string{
		"by log": "warn", "by slog": "error", "by hclog": "info", "by Logger": "info",
		"closed": "info", "close plugin": "error",
	} {
		require.Equal(t, level, levels[message], "%s: %s", message, stderr.String())
	}
}
