package sdk

import (
	"context"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Server is a plugin without a process around it: it answers the host's calls
// on whatever gRPC server it is registered with. [Main] and [MainWith] run one
// behind go-plugin's handshake, and package sdktest runs one in the process of
// a test; a plugin itself needs neither.
type Server struct{ svc *service }

// NewServer returns a server for a plugin that needs no configuration. The
// lines of its handlers go to logger, whose level the host sets.
func NewServer(p *Plugin, logger hclog.Logger) *Server {
	return &Server{svc: newService(staticProgram(p), logger)}
}

// NewServerWith returns a server for a plugin that setup makes from its
// configuration. Like [MainWith] it panics when C cannot be a config block.
func NewServerWith[C any](setup func(ctx context.Context, config C) (*Plugin, error), logger hclog.Logger) *Server {
	return &Server{svc: newService(configuredProgram(setup), logger)}
}

// Register puts the plugin's service on a gRPC server. The health service is
// the caller's.
func (s *Server) Register(on grpc.ServiceRegistrar) {
	pluginv1.RegisterPluginServiceServer(on, s.svc)
}

// Close ends the context that setup got and then runs the plugin's [OnClose]
// functions. Call it once, when no step runs any more.
func (s *Server) Close() error { return s.svc.close() }
