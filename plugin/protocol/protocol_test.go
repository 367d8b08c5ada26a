package protocol_test

import (
	"context"
	"testing"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/require"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

type describer struct {
	pluginv1.UnimplementedPluginServiceServer
}

func (describer) Describe(_ context.Context, req *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return &pluginv1.DescribeResponse{Name: "told by host " + req.GetHostVersion()}, nil
}

func TestDispensedClientReachesTheServedImplementation(t *testing.T) {
	t.Parallel()

	set := protocol.ServerPlugins(describer{})[protocol.Version]
	client, _ := goplugin.TestPluginGRPCConn(t, false, set)
	t.Cleanup(func() { _ = client.Close() })

	raw, err := client.Dispense(protocol.PluginName)
	require.NoError(t, err)
	c, ok := raw.(*protocol.Client)
	require.True(t, ok, "dispensed a %T", raw)

	resp, err := c.Describe(t.Context(), &pluginv1.DescribeRequest{HostVersion: "v7"})
	require.NoError(t, err)
	require.Equal(t, "told by host v7", resp.GetName())

	status, err := c.Health.Check(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, status.GetStatus())
}

func TestClientPluginsAreNotShared(t *testing.T) {
	t.Parallel()

	delete(protocol.ClientPlugins(), protocol.Version)
	require.Contains(t, protocol.ClientPlugins(), protocol.Version)
}

func TestReservedEnv(t *testing.T) {
	t.Parallel()

	for name, want := range map[string]bool{
		protocol.CookieKey:        true,
		"STEPHOST_PLUGIN_LEASH":   true,
		"PLUGIN_CLIENT_CERT":      true,
		"PLUGIN_UNIX_SOCKET_DIR":  true,
		"STEPHOST_CONFIG":         false,
		"ORDERS_REGION":           false,
		"MY_PLUGIN_CLIENT_CERT":   false,
		"plugin_protocol_version": false,
	} {
		require.Equal(t, want, protocol.ReservedEnv(name), name)
	}
}
