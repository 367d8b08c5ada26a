package sdk

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// InProcess is a plugin served over an in-memory gRPC connection, for tests.
type InProcess struct {
	Conn *grpc.ClientConn
	svc  *service
	srv  *grpc.Server
	done chan error
}

// ServeInProcess serves what Main would.
func ServeInProcess(logs io.Writer, opts ...Option) *InProcess {
	return serveProgram(logs, staticProgram(New(opts...)))
}

// ServeInProcessWith serves what MainWith would.
func ServeInProcessWith[C any](logs io.Writer, setup func(context.Context, C) (*Plugin, error)) *InProcess {
	return serveProgram(logs, configuredProgram(setup))
}

// ServePlugin serves a plugin that is made already.
func ServePlugin(logs io.Writer, plugin *Plugin) *InProcess {
	return serveProgram(logs, staticProgram(plugin))
}

// PlainLogs makes log lines readable and the same on each run.
func (p *InProcess) PlainLogs(out io.Writer) *InProcess {
	p.svc.logger = hclog.New(&hclog.LoggerOptions{Output: out, DisableTime: true})
	return p
}

// LimitResults lowers the bound on one result.
func (p *InProcess) LimitResults(bytes int) { p.svc.maxResultBytes = bytes }

func serveProgram(logs io.Writer, prog program) *InProcess {
	logger := hclog.New(&hclog.LoggerOptions{Output: logs, JSONFormat: true, Level: hclog.Info})
	p := &InProcess{
		svc:  newService(prog, logger),
		srv:  newGRPCServer(nil),
		done: make(chan error, 1),
	}
	pluginv1.RegisterPluginServiceServer(p.srv, p.svc)
	healthpb.RegisterHealthServer(p.srv, health.NewServer())
	listener := bufconn.Listen(1 << 20)
	go func() { p.done <- p.srv.Serve(listener) }()

	dial := func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }
	conn, err := grpc.NewClient("passthrough:///plugin", append(protocol.DialOptions(),
		grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		panic(err)
	}
	p.Conn = conn
	return p
}

// Close stops the plugin as the host would.
func (p *InProcess) Close() error {
	p.srv.Stop()
	return errors.Join(p.Conn.Close(), <-p.done, p.svc.close())
}
