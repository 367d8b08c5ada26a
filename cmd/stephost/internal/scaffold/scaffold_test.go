package scaffold_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/modfile"

	"github.com/stephost/stephost/cmd/stephost/internal/scaffold"
	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

const patience = 5 * time.Minute // the first build may be a cold one

// The whole way of an author: create, tidy, test, build, and a host's side of
// the binary.
func TestNewPluginTestsBuildsAndRunsAStep(t *testing.T) {
	t.Parallel()
	sdk, err := scaffold.FindSDK("")
	require.NoError(t, err)
	p, err := scaffold.New(filepath.Join(t.TempDir(), "new", "my-plugin"), "", "", sdk)
	require.NoError(t, err)
	require.NoError(t, p.Create())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, p.Tidy(ctx))

	run := func(name string, args ...string) string {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = p.Dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s %v: %s", name, args, out)
		return string(out)
	}
	require.Empty(t, run("gofmt", "-l", "."))
	require.Contains(t, run("make", "test", "build"), "ok  \texample.com/my-plugin")
	require.JSONEq(t, `{"text": "hello world"}`, firstStep(t, filepath.Join(p.Dir, "bin", "my-plugin"), `{"name": "world"}`))
}

// firstStep starts a plugin as a host does and returns the result of its
// default step.
func firstStep(t *testing.T, binary, message string) string {
	t.Helper()
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  protocol.Handshake(),
		VersionedPlugins: protocol.ClientPlugins(),
		Cmd:              exec.Command(binary),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		GRPCDialOptions:  protocol.DialOptions(),
		Logger:           hclog.NewNullLogger(),
		Stderr:           io.Discard,
	})
	defer client.Kill()
	conn, err := client.Client()
	require.NoError(t, err)
	raw, err := conn.Dispense(protocol.PluginName)
	require.NoError(t, err)
	plugin := raw.(*protocol.Client)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	configured, err := plugin.Configure(ctx, &pluginv1.ConfigureRequest{Config: []byte(`{"greeting": null}`)})
	require.NoError(t, err)
	require.Empty(t, configured.GetDiagnostics())
	stream, err := plugin.Execute(ctx)
	require.NoError(t, err)
	require.NoError(t, stream.Send(&pluginv1.ExecuteRequest{Steps: []*pluginv1.Step{{Id: 1, Input: []byte(message), Attempt: 1}}}))
	resp, err := stream.Recv()
	require.NoError(t, err)
	return string(resp.GetResults()[0].GetSuccess().GetOutput())
}

func TestReleaseRequiresItsOwnVersion(t *testing.T) {
	t.Parallel()
	p, err := scaffold.New(filepath.Join(t.TempDir(), "greeter"), "payments", "corp.example/team/payments", scaffold.SDK{Version: "v1.2.3"})
	require.NoError(t, err)
	require.NoError(t, p.Create())
	content, err := os.ReadFile(filepath.Join(p.Dir, "go.mod"))
	require.NoError(t, err)
	mod, err := modfile.Parse("go.mod", content, nil)
	require.NoError(t, err)
	require.Equal(t, "corp.example/team/payments", mod.Module.Mod.Path)
	require.Len(t, mod.Require, 1)
	require.Equal(t, "github.com/stephost/stephost@v1.2.3", mod.Require[0].Mod.String())
	require.Empty(t, mod.Replace)

	readme, err := os.ReadFile(filepath.Join(p.Dir, "README.md"))
	require.NoError(t, err)
	require.NotContains(t, string(readme), "development build")
}

func TestNewModuleHasTheSDKsGoVersion(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../../../go.mod")
	require.NoError(t, err)
	own, err := modfile.Parse("go.mod", content, nil)
	require.NoError(t, err)

	p, err := scaffold.New(filepath.Join(t.TempDir(), "greeter"), "", "", scaffold.SDK{Version: "v1.2.3"})
	require.NoError(t, err)
	require.NoError(t, p.Create())
	content, err = os.ReadFile(filepath.Join(p.Dir, "go.mod"))
	require.NoError(t, err)
	made, err := modfile.Parse("go.mod", content, nil)
	require.NoError(t, err)
	require.Equal(t, own.Go.Version, made.Go.Version)
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "payments", "pay_ments-2"} {
		p, err := scaffold.New("x", good, "", scaffold.SDK{})
		require.NoError(t, err)
		require.Equal(t, "example.com/"+good, p.Module)
	}
	for _, bad := range []string{"Pay", "2pay", "pay ments", "pay.ments", "-pay", "../pay", strings.Repeat("a", 41)} {
		_, err := scaffold.New("x", bad, "", scaffold.SDK{})
		require.ErrorContains(t, err, "beginning with a letter", bad)
	}
	_, err := scaffold.New("dir/My Plugin", "", "", scaffold.SDK{})
	require.ErrorContains(t, err, "give one with --name")
	_, err = scaffold.New("x", "", "not a module", scaffold.SDK{})
	require.ErrorContains(t, err, "malformed import path")
}

func TestExistingFilesStay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, err := scaffold.New(dir, "payments", "", scaffold.SDK{Version: "v1.2.3"})
	require.NoError(t, err)
	require.NoError(t, p.Create(), "an empty directory is as good as none")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "plugin.go"), []byte("mine"), 0o600))
	require.ErrorContains(t, p.Create(), "is not empty: it has .gitignore")
	kept, err := os.ReadFile(filepath.Join(dir, "plugin.go"))
	require.NoError(t, err)
	require.Equal(t, "mine", string(kept))
}
