package sdk

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// service is the gRPC side of a plugin process. A service lives as long as its
// process: it is configured once and serves any number of streams after that.
type service struct {
	pluginv1.UnimplementedPluginServiceServer
	program program
	logger  hclog.Logger
	// lifetime is what a setup function gets; it ends when the plugin closes.
	lifetime context.Context
	end      context.CancelFunc

	configuring atomic.Bool
	ready       atomic.Pointer[readyPlugin]

	maxResultBytes int
	// untimed: no step times out, for somebody looks at it in a debugger.
	untimed bool
}

// readyPlugin is a configured plugin with its run-time state.
type readyPlugin struct {
	*Plugin
	slots *slots
}

// program is what main was given: how to describe the plugin before it is
// configured, and how to make it from its config.
type program struct {
	described *pluginv1.DescribeResponse
	// setup makes the plugin. Errors become diagnostics.
	setup func(ctx context.Context, config []byte) (*Plugin, error)
	// late says that described does not have the steps.
	late bool
}

// staticProgram is a plugin that needs no config.
func staticProgram(p *Plugin) program {
	return program{
		described: p.describe(),
		setup:     func(context.Context, []byte) (*Plugin, error) { return p, nil },
	}
}

func newService(p program, logger hclog.Logger) *service {
	s := &service{program: p, logger: logger, maxResultBytes: maxResultBytes}
	s.lifetime, s.end = context.WithCancel(context.Background())
	return s
}

// Describe answers what is known without configuration.
func (s *service) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return s.program.described, nil
}

// Configure makes the plugin.
func (s *service) Configure(ctx context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	if !s.configuring.CompareAndSwap(false, true) {
		return nil, status.Error(codes.FailedPrecondition, "plugin is configured already")
	}
	s.setLevel(req.GetLogLevel())
	p, err := s.setup(ctx, req.GetConfig())
	if err != nil {
		return &pluginv1.ConfigureResponse{Diagnostics: diagnose(err)}, nil
	}
	s.ready.Store(&readyPlugin{Plugin: p, slots: newSlots(p.maxConcurrency)})
	resp := &pluginv1.ConfigureResponse{}
	if s.program.late {
		resp.Description = p.describe()
	}
	return resp, nil
}

// SetLogLevel changes the level of all loggers of the process.
func (s *service) SetLogLevel(_ context.Context, req *pluginv1.SetLogLevelRequest) (*pluginv1.SetLogLevelResponse, error) {
	s.setLevel(req.GetLogLevel())
	return &pluginv1.SetLogLevelResponse{}, nil
}

// setLevel leaves the level as it is where this is none.
func (s *service) setLevel(name string) {
	if level := hclog.LevelFromString(name); level != hclog.NoLevel {
		s.logger.SetLevel(level)
	}
}

// setup runs the program's setup function with a context that outlives the
// call, because the function may hand it to what it starts; only a host that
// gives up on Configure ends it early.
func (s *service) setup(ctx context.Context, config []byte) (p *Plugin, err error) {
	stop := context.AfterFunc(ctx, s.end)
	defer stop()
	defer func() {
		if v := recover(); v != nil {
			s.logger.Error("setup panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = fmt.Errorf("setup panicked: %v", v)
		}
	}()
	p, err = s.program.setup(s.lifetime, config)
	if err == nil && p == nil {
		err = errors.New("setup returned no plugin")
	}
	return p, err
}

// Execute runs steps.
func (s *service) Execute(rpc pluginv1.PluginService_ExecuteServer) error {
	ready := s.ready.Load()
	if ready == nil {
		return status.Error(codes.FailedPrecondition, "plugin is not configured")
	}
	return newStream(s, ready).serve(rpc)
}

// close ends what the plugin holds: first its context, then the closers in
// reverse order.
func (s *service) close() error {
	s.end()
	ready := s.ready.Load()
	if ready == nil {
		return nil
	}
	var errs []error
	for i := len(ready.closers) - 1; i >= 0; i-- {
		errs = append(errs, closeSafely(ready.closers[i]))
	}
	return errors.Join(errs...)
}

// closeSafely keeps a closer that panics from standing in the way of the rest.
func closeSafely(closer func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return closer()
}
