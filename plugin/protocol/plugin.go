package protocol

import (
	"context"
	"errors"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Client is a host's view of a running plugin. [ClientPlugins] dispenses it:
//
//	raw, err := protocolClient.Dispense(protocol.PluginName)
//	client := raw.(*protocol.Client)
type Client struct {
	pluginv1.PluginServiceClient
	// Health asks the standard health service. The empty service name stands
	// for the whole plugin.
	Health healthpb.HealthClient
	// Conn carries both. go-plugin's client owns it and closes it.
	Conn *grpc.ClientConn
	// Done is closed when go-plugin has noticed the end of the process.
	Done <-chan struct{}
}

// NewClient returns a client on a connection that the caller owns. Done is
// nil, since no process is known.
func NewClient(conn *grpc.ClientConn) *Client {
	return &Client{
		PluginServiceClient: pluginv1.NewPluginServiceClient(conn),
		Health:              healthpb.NewHealthClient(conn),
		Conn:                conn,
	}
}

// ClientPlugins returns the sets for goplugin.ClientConfig.VersionedPlugins.
// Each call returns new ones, since go-plugin modifies what it is given.
func ClientPlugins() map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{Version: {PluginName: &grpcPlugin{}}}
}

// ServerPlugins returns the sets for goplugin.ServeConfig.VersionedPlugins,
// serving impl.
func ServerPlugins(impl pluginv1.PluginServiceServer) map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{Version: {PluginName: &grpcPlugin{impl: impl}}}
}

// grpcPlugin is the glue for both sides; impl is nil on the host's.
type grpcPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	impl pluginv1.PluginServiceServer
}

var _ goplugin.GRPCPlugin = (*grpcPlugin)(nil)

// GRPCServer registers the plugin's service. The health service is there
// already: go-plugin registers it and reports the empty name as serving.
func (p *grpcPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	if p.impl == nil {
		return errors.New("this side of the protocol has nothing to serve")
	}
	pluginv1.RegisterPluginServiceServer(s, p.impl)
	return nil
}

// GRPCClient wraps the connection. go-plugin cancels ctx when the process
// ends.
func (p *grpcPlugin) GRPCClient(ctx context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	c := NewClient(conn)
	c.Done = ctx.Done()
	return c, nil
}
