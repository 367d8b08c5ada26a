// Package inproc runs a plugin's gRPC service and a host's client of it in one
// process, over a pipe in memory. Nothing in it waits for the operating system,
// so all of it may live in a testing/synctest bubble.
package inproc

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/stephost/stephost/plugin/protocol"
)

// pipeBytes is how much may be on its way in each direction before the sender
// waits, as in a socket's buffer.
const pipeBytes = 1 << 20

// Connection is a served plugin and the host's end of the pipe to it.
type Connection struct {
	// Client speaks the protocol with the plugin.
	Client *protocol.Client

	server *grpc.Server
	served chan error
}

// Serve starts a gRPC server with what register puts on it, beside the health
// service that go-plugin adds in a process of its own.
func Serve(register func(grpc.ServiceRegistrar)) (*Connection, error) {
	// Stop waits for handlers, so that it leaves no goroutine behind.
	server := grpc.NewServer(append(protocol.ServerOptions(), grpc.WaitForHandlers(true))...)
	register(server)
	healthpb.RegisterHealthServer(server, health.NewServer())

	listener := bufconn.Listen(pipeBytes)
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }
	conn, err := grpc.NewClient("passthrough:///plugin", append(protocol.DialOptions(),
		grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// A fake clock may jump past any idle timeout.
		grpc.WithIdleTimeout(0))...)
	if err != nil {
		return nil, fmt.Errorf("connect to the plugin: %w", err)
	}
	c := &Connection{Client: protocol.NewClient(conn), server: server, served: make(chan error, 1)}
	go func() { c.served <- server.Serve(listener) }()
	return c, nil
}

// Close ends both sides. It waits for calls that the plugin still serves, so
// it returns only when handlers do.
func (c *Connection) Close() error {
	err := c.Client.Conn.Close()
	c.server.Stop()
	return errors.Join(err, <-c.served)
}
