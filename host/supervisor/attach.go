package supervisor

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/stephost/stephost/host/supervisor/pluginlog"
	"github.com/stephost/stephost/host/supervisor/shim"
	"github.com/stephost/stephost/plugin/protocol"
)

// suspended stands for a deadline that never comes: somebody looks at the
// process in a debugger.
const suspended = 10 * 365 * 24 * time.Hour

// DetachedError is the end of an attached process, or of the connection to it.
// It is the cause of the steps that were lost with it.
type DetachedError struct {
	Plugin string
	PID    int
	Err    error // how the connection ended
}

func (e *DetachedError) Error() string {
	return fmt.Sprintf("the process %d that was attached as plugin %q is gone: %v", e.PID, e.Plugin, e.Err)
}

func (e *DetachedError) Unwrap() error { return e.Err }

// Bystander reports that no step has ended the process: a developer has.
func (e *DetachedError) Bystander() bool { return true }

// suspend takes away the deadlines, and what holds up the own program, for an
// attached process.
func (s *Spec) suspend() {
	s.Instances, s.Hold = 1, ""
	s.Timeouts.Start, s.Timeouts.Configure = suspended, suspended
	s.Timeouts.Health, s.Timeouts.HealthInterval = suspended, suspended
	s.Timeouts.Send, s.Timeouts.Retire = suspended, suspended
}

// Detached is closed when the attached process, or the connection to it, has
// ended and the host has not asked for that. It never is where Spec.Attach is
// nil.
func (p *Plugin) Detached() <-chan struct{} { return p.detached }

// runAttached is the life of the only instance of an attached plugin.
func (i *instance) runAttached() {
	p := i.plugin
	defer i.debut.end(ErrStopped)
	defer i.stopped()
	proc, err := attachProcess(p.starts, &p.spec, &p.deps, p.log, &p.counters)
	if err != nil {
		i.lost(err)
		return
	}
	i.ready(proc, 0)
	// A process whose handler hangs is not replaced: it may be at a breakpoint.
	select {
	case <-proc.failed:
		i.withdraw(proc)
		gone := &DetachedError{Plugin: p.spec.Name, PID: proc.runner.pid(), Err: proc.cause}
		p.log.Warn("the attached process is gone", "error", gone)
		i.lost(gone)
		proc.bury(gone)
	case <-p.stops:
		i.withdraw(proc)
		proc.halfClose()
		proc.bury(ErrStopped)
	}
}

// lost is the end of the attachment.
func (i *instance) lost(err error) {
	p := i.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	i.lastErr = err
	i.become(StateBackingOff, inShort(err))
	i.debut.end(err)
	close(p.detached)
}

// attachProcess connects to a process that somebody else has started.
func attachProcess(ctx context.Context, spec *Spec, deps *Deps, log hclog.Logger, counts *counters) (*process, error) {
	p := newProcess(spec, 0, log, counts)
	p.output = pluginlog.New(p.log, &counts.flood)
	p.runner = &pluginRunner{spec: spec, deps: deps, log: p.log, output: p.output, child: attachedChild(spec.Attach.PID)}
	err := p.dial(spec.Attach)
	if err == nil {
		err = p.introduce(ctx, deps)
	}
	if err != nil {
		p.bury(err)
		return nil, &StartError{Plugin: spec.Name, PID: spec.Attach.PID, Err: err}
	}
	p.log.Info("plugin is attached", "version", p.described.GetVersion(), "pid", spec.Attach.PID)
	p.watchStreams()
	return p, nil
}

// dial makes the connection; it is opened by the first call.
func (p *process) dial(to *protocol.Attachment) error {
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, to.Network, to.Address)
	}
	conn, err := grpc.NewClient("passthrough:///plugin", append(protocol.DialOptions(),
		grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return err
	}
	p.api = protocol.NewClient(conn)
	return nil
}

// attachedChild stands for a process that is not the host's to end.
func attachedChild(pid int) *child {
	return &child{pid: pid, attached: true, exited: make(chan struct{}), exit: shim.Exit{}}
}
