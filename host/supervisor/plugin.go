package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stephost/stephost/host/processor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Plugin is a plugin with all its processes. Its owner stops it. All methods
// are safe for concurrent use.
type Plugin struct {
	spec     Spec
	deps     Deps
	log      hclog.Logger
	counters counters
	journal  *journal

	// starts ends when no process is to be started any more; stops when all
	// are to be stopped.
	starts    context.Context
	endStarts context.CancelFunc
	stops     chan struct{}
	running   sync.WaitGroup
	ended     chan struct{}
	detached  chan struct{}

	mu        sync.Mutex
	instances []*instance
	probation *probation
	lent      *loan // nil: nothing
	breaker   breaker
	// prober is the instance that may start while the breaker is open.
	prober   *instance
	draining bool
	stopping context.Context
	// ready has the processes that take steps. It is replaced, never changed.
	ready     []*process
	described *pluginv1.DescribeResponse
	snapshot  processor.ExecutorState
	changed   chan struct{}
	state     State
	reason    string
	since     time.Time

	// retired are the processes that have been replaced and have not ended.
	retired map[*process]struct{}

	crashes      uint64
	hangs        uint64
	failedStarts uint64
	timeToReady  time.Duration
}

var _ processor.Executor = (*Plugin)(nil)

// Start begins to run a plugin and does not wait for it. The error is about
// spec or deps; what goes wrong with the plugin shows in its state.
func Start(spec Spec, deps Deps) (*Plugin, error) {
	if err := errors.Join(spec.complete(), deps.complete()); err != nil {
		return nil, fmt.Errorf("start plugin %q: %w", spec.Name, err)
	}
	if spec.Attach != nil {
		spec.suspend()
	}
	p := &Plugin{
		spec: spec, deps: deps,
		log:      deps.Logger.With("plugin", spec.Name),
		stops:    make(chan struct{}),
		ended:    make(chan struct{}),
		breaker:  breaker{policy: spec.Restart},
		changed:  make(chan struct{}),
		state:    StateStopped,
		since:    deps.Clock.Now(),
		retired:  make(map[*process]struct{}),
		detached: make(chan struct{}),
	}
	p.journal = newJournal(p.log, spec.Generation)
	p.starts, p.endStarts = context.WithCancel(context.Background())
	first, reason := StateStarting, firstStart
	if spec.Hold != "" {
		first, reason = StateStopped, spec.Hold
		p.endStarts()
	}
	for n := range spec.Instances {
		p.instances = append(p.instances, &instance{
			plugin: p, number: n, debut: newDebut(),
			state: first, reason: reason, since: deps.Clock.Now(),
		})
	}
	p.probation = &probation{plugin: p, wake: make(chan struct{}, 1), state: StateStopped}
	p.snapshot.Untimed = spec.Attach != nil
	p.publish()
	for _, i := range p.instances {
		if spec.Attach != nil {
			p.running.Go(i.runAttached)
			continue
		}
		p.running.Go(i.run)
	}
	p.running.Go(p.probation.run)
	go func() {
		p.running.Wait()
		p.journal.close()
		close(p.ended)
	}()
	return p, nil
}

// Name is the plugin's, as the configuration has it.
func (p *Plugin) Name() string { return p.spec.Name }

// State implements processor.Executor.
func (p *Plugin) State() processor.ExecutorState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.snapshot
}

// WaitReady waits until steps can be dispatched. It gives up early where
// waiting is in vain: the program cannot be executed, its configuration is
// refused, the plugin has tripped or is stopped.
func (p *Plugin) WaitReady(ctx context.Context) error {
	for {
		p.mu.Lock()
		state, vain := p.snapshot, p.inVain()
		p.mu.Unlock()
		switch {
		case state.Ready:
			return nil
		case vain != nil:
			return vain
		}
		select {
		case <-state.Changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for plugin %q: %w: %s", p.spec.Name, context.Cause(ctx), p.State().Reason)
		}
	}
}

// inVain is why nobody should wait; p.mu is held.
func (p *Plugin) inVain() error {
	if p.stopping != nil {
		return ErrStopped
	}
	if p.spec.Hold != "" {
		return p.held()
	}
	for _, i := range p.instances {
		var config *ConfigError
		var program *ProgramError
		if errors.As(i.lastErr, &config) || errors.As(i.lastErr, &program) || i.lastErr != nil && p.breaker.open() {
			return i.lastErr
		}
	}
	return nil
}

// held is the error of a plugin that is not started yet.
func (p *Plugin) held() error { return fmt.Errorf("%w: %s", ErrStopped, p.spec.Hold) }

// Drain takes no more steps, gives back those that have not been sent, and
// waits until the plugin has answered the others. Steps that it has accepted
// but not started come back as NotAccepted. Nothing is restarted any more. It
// returns early when ctx ends; Stop then loses what is left.
func (p *Plugin) Drain(ctx context.Context) error {
	p.mu.Lock()
	p.draining = true
	procs := p.processes()
	p.publish()
	p.mu.Unlock()
	p.endStarts()

	for _, proc := range procs {
		proc.halfClose()
	}
	for _, proc := range procs {
		if err := proc.waitDrained(ctx); err != nil {
			return fmt.Errorf("drain plugin %q: %w; %d steps are in flight", p.spec.Name, err, p.InFlight())
		}
	}
	return nil
}

// Reset forgets crashes and back-off: it closes the breaker and starts at once
// every instance that waits. It is for an operator who has mended the cause.
// The error is ErrStopped where nothing is started any more.
func (p *Plugin) Reset() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.spec.Hold != "":
		return fmt.Errorf("reset plugin %q: %w", p.spec.Name, p.held())
	case p.starts.Err() != nil:
		return fmt.Errorf("reset plugin %q: %w", p.spec.Name, ErrStopped)
	}
	p.breaker.reset()
	p.counters.streak.forget()
	p.prober = nil
	for _, i := range p.instances {
		i.failures, i.next = 0, time.Time{}
	}
	p.publish()
	return nil
}

// processes are all that may have steps; p.mu is held.
func (p *Plugin) processes() []*process {
	procs := slices.Collect(maps.Keys(p.retired))
	for _, i := range p.instances {
		if i.proc != nil {
			procs = append(procs, i.proc)
		}
	}
	if p.probation.proc != nil {
		procs = append(procs, p.probation.proc)
	}
	return procs
}

// InFlight is how many steps are with the processes.
func (p *Plugin) InFlight() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, proc := range p.processes() {
		n += int(proc.inFlight.Load())
	}
	return n
}

// Stop ends all processes: it asks, waits for the stop timeout or until ctx
// ends, and kills. Steps in flight are lost; Drain first to let them finish.
// When it returns, no process and no goroutine of the plugin is left.
func (p *Plugin) Stop(ctx context.Context) error {
	p.mu.Lock()
	if p.stopping == nil {
		p.stopping = ctx
		p.publish()
		close(p.stops)
	}
	p.mu.Unlock()
	p.endStarts()
	<-p.ended
	return nil
}

// joined takes a ready process in; p.mu is held.
func (p *Plugin) joined(proc *process) {
	p.ready = append(append([]*process(nil), p.ready...), proc)
	p.described = proc.described
	steps := make(map[string]struct{}, len(proc.described.GetSteps()))
	p.snapshot.Default = ""
	for _, s := range proc.described.GetSteps() {
		steps[s.GetName()] = struct{}{}
		if s.GetDefault() {
			p.snapshot.Default = s.GetName()
		}
	}
	p.snapshot.Steps = steps
}

// left takes a process out; p.mu is held.
func (p *Plugin) left(proc *process) {
	var rest []*process
	for _, other := range p.ready {
		if other != proc {
			rest = append(rest, other)
		}
	}
	p.ready = rest
}

// Described is what the plugin says about itself, once it has been ready; nil
// before.
func (p *Plugin) Described() *pluginv1.DescribeResponse {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.described
}
