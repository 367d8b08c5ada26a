package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/stephost/stephost/host/supervisor/pluginlog"
	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// shutdownMethod is how go-plugin's servers are asked to end.
const shutdownMethod = "/plugin.GRPCController/Shutdown"

// process is one ready process of a plugin.
type process struct {
	spec     *Spec
	instance int
	log      hclog.Logger
	counters *counters

	output *pluginlog.Output
	runner *pluginRunner
	client *goplugin.Client
	api    *protocol.Client
	synced []io.WriteCloser

	described *pluginv1.DescribeResponse
	logLevel  string // as it was told when it was configured
	small     *stream
	large     *stream
	inFlight  atomic.Int64

	// life ends when the process is ended; its background work stops then.
	life   context.Context
	finish context.CancelFunc
	work   sync.WaitGroup
	workMu sync.Mutex
	// buried is closed when nothing of the process is left and all its steps
	// have been given back.
	buried chan struct{}

	failOnce sync.Once
	// failed is closed when the process has ended by itself or must be ended;
	// cause is valid then, and nil where it ended by itself.
	failed chan struct{}
	cause  error

	retireOnce sync.Once
	// retired is closed when the process is to be replaced; hang is valid then.
	retired chan struct{}
	hang    *HangError
	// relieved has room for one signal: answers have come after the half-close, or while the process is lent.
	relieved chan struct{}
}

// counters are a plugin's, over all its processes.
type counters struct {
	stray  atomic.Uint64
	flood  pluginlog.Flood
	streak streak
}

// startProcess starts, configures and connects a process. On an error nothing
// of it is left. ctx aborts the start.
func startProcess(ctx context.Context, spec *Spec, deps *Deps, instance int, log hclog.Logger, counts *counters) (*process, error) {
	p := newProcess(spec, instance, log, counts)
	err := p.launch(ctx, deps)
	if err == nil {
		err = p.introduce(ctx, deps)
	}
	if err != nil {
		return nil, p.abort(err)
	}
	p.log.Info("plugin is ready", "version", p.described.GetVersion(), "pid", p.runner.pid())
	p.watch()
	if deps.LogLevel != nil {
		p.work.Go(func() { p.followLevel(deps.LogLevel, p.logLevel) })
	}
	return p, nil
}

func newProcess(spec *Spec, instance int, log hclog.Logger, counts *counters) *process {
	p := &process{
		spec: spec, instance: instance, counters: counts,
		log:     log.With("instance", instance),
		failed:  make(chan struct{}),
		retired: make(chan struct{}), relieved: make(chan struct{}, 1),
		buried: make(chan struct{}),
	}
	p.life, p.finish = context.WithCancel(context.Background())
	return p
}

// launch executes the program and connects to it.
func (p *process) launch(ctx context.Context, deps *Deps) error {
	prog, err := openProgram(p.spec.Command, p.spec.SHA256)
	if err != nil {
		return err
	}
	defer prog.close()
	p.output = pluginlog.New(p.log, &p.counters.flood)
	p.runner = &pluginRunner{spec: p.spec, deps: deps, prog: prog, log: p.log, output: p.output}
	p.client = goplugin.NewClient(p.clientConfig(deps))

	// A start that takes too long is ended by ending the process: go-plugin
	// holds a lock meanwhile and has no deadline for the connection.
	limited, cancel := context.WithTimeoutCause(ctx, p.spec.Timeouts.Start,
		fmt.Errorf("it printed no handshake line and accepted no connection within %v", p.spec.Timeouts.Start))
	defer cancel()
	release := context.AfterFunc(limited, func() {
		_ = p.runner.fail(context.Cause(limited))
		_ = p.runner.Kill(limited)
	})
	err = p.connect()
	if !release() {
		return p.runner.fail(context.Cause(limited))
	}
	if err != nil {
		if why := p.runner.reason(); why != nil {
			return why
		}
		return err
	}
	return nil
}

func (p *process) clientConfig(deps *Deps) *goplugin.ClientConfig {
	stdout, stderr := p.output.Writer(pluginlog.Stdout), p.output.Writer(pluginlog.Stderr)
	p.synced = []io.WriteCloser{stdout, stderr}
	return &goplugin.ClientConfig{
		HandshakeConfig:  protocol.Handshake(),
		VersionedPlugins: protocol.ClientPlugins(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			return p.runner, p.runner.prepare(cmd, dir)
		},
		// Everything worth saying is said here, with better words.
		Logger: hclog.NewNullLogger(),
		// The bound is ours.
		StartTimeout:     p.spec.Timeouts.Start + killTimeout,
		SyncStdout:       stdout,
		SyncStderr:       stderr,
		AutoMTLS:         !p.spec.DisableTLS,
		SkipHostEnv:      true,
		GRPCDialOptions:  protocol.DialOptions(),
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: deps.SocketDir},
	}
}

func (p *process) connect() error {
	rpc, err := p.client.Client()
	if err != nil {
		return explainTemporary(err)
	}
	raw, err := rpc.Dispense(protocol.PluginName)
	if err != nil {
		return err
	}
	p.api = raw.(*protocol.Client)
	return nil
}

// introduce makes the process ready: it opens the streams too.
func (p *process) introduce(ctx context.Context, deps *Deps) error {
	if err := p.greet(ctx, deps); err != nil {
		return err
	}
	var err error
	if p.small, err = p.openStream(); err != nil {
		return err
	}
	p.large, err = p.openStream()
	return err
}

// greet describes, configures and checks the process.
func (p *process) greet(ctx context.Context, deps *Deps) error {
	if err := p.describe(ctx, deps); err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	p.logLevel = p.wantedLevel(deps)
	if err := p.configure(ctx); err != nil {
		return err
	}
	return p.checkHealth(ctx)
}

func (p *process) describe(ctx context.Context, deps *Deps) error {
	ctx, cancel := context.WithTimeout(ctx, p.spec.Timeouts.Start)
	defer cancel()
	d, err := p.api.Describe(ctx, &pluginv1.DescribeRequest{HostVersion: deps.HostVersion})
	p.described = d
	return inTime(err, p.spec.Timeouts.Start)
}

func (p *process) configure(ctx context.Context) error {
	req := &pluginv1.ConfigureRequest{Plugin: p.spec.Name, Instance: uint32(p.instance), LogLevel: p.logLevel}
	ctx, cancel := context.WithTimeout(ctx, p.spec.Timeouts.Configure)
	defer cancel()
	if p.spec.Configure != nil {
		config, err := p.spec.Configure(ctx, p.described)
		if err != nil {
			return &ConfigError{Err: err}
		}
		req.Config = config
	}
	resp, err := p.api.Configure(ctx, req)
	if err != nil {
		return fmt.Errorf("configure: %w", inTime(err, p.spec.Timeouts.Configure))
	}
	diagnose := p.spec.Diagnose
	if diagnose == nil {
		diagnose = plainDiagnosis
	}
	if diags := resp.GetDiagnostics(); len(diags) > 0 {
		if err := diagnose(diags); err != nil {
			return &ConfigError{Err: err}
		}
	}
	p.described = protocol.Configured(p.described, resp)
	return nil
}

// plainDiagnosis joins the errors among the diagnostics.
func plainDiagnosis(diags []*pluginv1.Diagnostic) error {
	var errs []error
	for _, d := range diags {
		if d.GetSeverity() == pluginv1.Severity_SEVERITY_WARNING {
			continue
		}
		errs = append(errs, errors.New(strings.TrimSpace(d.GetSummary()+" "+d.GetDetail())))
	}
	return errors.Join(errs...)
}

// inTime puts an expired deadline into words.
func inTime(err error, limit time.Duration) error {
	if status.Code(err) == codes.DeadlineExceeded {
		return fmt.Errorf("no answer within %v", limit)
	}
	return err
}

// abort ends a process that did not become ready.
func (p *process) abort(err error) error {
	e := &StartError{Plugin: p.spec.Name, Instance: p.instance, Err: err}
	if p.runner == nil {
		p.finish()
		return e
	}
	e.PID = p.runner.pid()
	c := p.runner.process()
	// A process that is about to end by itself should be seen to do so: a
	// closed stdout and a failed call come a moment before.
	var config *ConfigError
	died := c != nil && !errors.As(err, &config) && p.runner.reason() == nil || errors.Is(err, errNoHandshake)
	own := c != nil && died && c.wait(pipeGrace)
	p.bury(err)
	if own {
		e.Exit = &c.exit
	}
	e.Stderr = p.output.Last()
	return e
}

// stop asks the process to end, and ends its group when it does not.
func (p *process) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.spec.Timeouts.Stop)
	defer cancel()
	p.halfClose()
	if !p.askToEnd(ctx) {
		p.log.Warn("plugin did not stop in time and is killed")
	}
	p.bury(ErrStopped)
}

// askToEnd asks the process to end and reports whether it did before ctx
// ended.
func (p *process) askToEnd(ctx context.Context) bool {
	c := p.runner.process()
	if !c.running() {
		return true
	}
	err := p.api.Conn.Invoke(ctx, shutdownMethod, &emptypb.Empty{}, &emptypb.Empty{})
	if status.Code(err) == codes.Unimplemented {
		c.terminate()
	}
	select {
	case <-c.exited:
		return true
	case <-ctx.Done():
		return false
	}
}

// examine finds out why the process failed. What only its burial tells is
// added by buryCrashed.
func (p *process) examine() *CrashError {
	c := p.runner.process()
	e := &CrashError{Plugin: p.spec.Name, Instance: p.instance, PID: c.pid, Err: p.cause}
	// The connection breaks a moment before the exit is known.
	if c.wait(pipeGrace) {
		e.Err, e.Exit = nil, c.exit
	}
	return e
}

// buryCrashed ends what is left after a failure. It returns, and gives as the
// cause of what is lost, a complete report: the steps in flight and the last
// lines are known only now.
func (p *process) buryCrashed(found *CrashError) *CrashError {
	e := *found
	p.buryWith(func(left []stranded) error {
		e.Exit = p.runner.process().exit
		e.Stderr = p.output.Last()
		e.InFlight = lostOf(left)
		if message := messageAlone(left); message != "" {
			e.PluginAtFault = p.counters.streak.crashed(message, p.spec.Restart.MaxCrashes)
		}
		return &e
	})
	return &e
}

func (p *process) bury(cause error) { p.buryWith(func([]stranded) error { return cause }) }

// buryWith kills the group, joins all goroutines, and gives back the steps
// that have no result. cause is told of them.
func (p *process) buryWith(cause func(left []stranded) error) {
	c := p.runner.process()
	if c != nil {
		if err := c.kill(); err != nil {
			p.log.Error("plugin cannot be ended", "error", err)
			c.giveUp()
		}
	}
	streams := p.openStreams()
	for _, s := range streams {
		s.join()
	}
	p.workMu.Lock()
	p.finish()
	p.workMu.Unlock()
	if p.client != nil {
		// The process is gone, so this only closes the connection and waits
		// for go-plugin's goroutines.
		p.client.Kill()
	} else if p.api != nil {
		_ = p.api.Conn.Close()
	}
	if p.runner.socketDir != "" {
		_ = os.RemoveAll(p.runner.socketDir)
	}
	for _, w := range p.synced {
		_ = w.Close()
	}
	p.work.Wait()
	p.output.Close()
	if c != nil {
		_ = c.stdout.Close()
		_ = c.stderr.Close()
	}
	left := make([]stranded, 0, len(streams))
	for _, s := range streams {
		left = append(left, s.forsake())
	}
	why := cause(left)
	for _, steps := range left {
		steps.giveBack(why)
	}
	close(p.buried)
}

func (p *process) openStreams() []*stream {
	var open []*stream
	for _, s := range []*stream{p.small, p.large} {
		if s != nil {
			open = append(open, s)
		}
	}
	return open
}
