package processor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// Processor runs the lanes. Its methods are safe for concurrent use. The order
// of life is New, Start, Drain, Stop.
type Processor struct {
	opts    Options
	slots   *slots
	budget  *budget
	nextID  atomic.Uint64
	lanes   []*lane
	byName  map[string]*lane
	byQueue map[string]*lane

	keeperProgress atomic.Int64

	mu       sync.Mutex
	started  bool
	cancel   context.CancelFunc // stops claiming
	stopRest context.CancelFunc // stops settling and keeping
	claiming sync.WaitGroup
	rest     sync.WaitGroup
}

// New builds the lanes; nothing runs yet.
func New(opts Options) *Processor {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	p := &Processor{
		opts:    opts,
		slots:   newSlots(opts.MaxConcurrent),
		budget:  newBudget(opts.Bytes),
		byName:  make(map[string]*lane, len(opts.Namespaces)),
		byQueue: make(map[string]*lane, len(opts.Namespaces)),
	}
	for _, ns := range opts.Namespaces {
		l := newLane(p, ns)
		p.lanes = append(p.lanes, l)
		p.byName[ns.Name] = l
		p.byQueue[ns.Queue] = l
	}
	return p
}

// Start runs the lanes until Stop.
func (p *Processor) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started {
		return
	}
	p.started = true
	claimCtx, cancel := context.WithCancel(context.Background())
	restCtx, stopRest := context.WithCancel(context.Background())
	p.cancel, p.stopRest = cancel, stopRest
	p.keeperProgress.Store(p.opts.Now().UnixNano())
	for _, l := range p.lanes {
		p.claiming.Go(func() { l.run(claimCtx) })
		p.rest.Go(func() { l.settle(restCtx) })
	}
	p.rest.Go(func() { p.keep(restCtx) })
}

// Drain stops claiming and waits until every message in hand is settled. At
// ctx's end it cancels the handlers, waits KillTimeout for them and then gives
// back what is unfinished, so that another host can take it at once. The error
// says how many messages could not even be given back; they come back when
// their leases end.
func (p *Processor) Drain(ctx context.Context) error {
	for _, l := range p.lanes {
		l.stop()
	}
	// Claims that are under way have deadlines of their own; the drain's may end
	// sooner.
	for _, l := range p.lanes {
		p.rest.Go(l.awaitClaim)
	}
	if p.allEmpty(ctx) == nil {
		return nil
	}
	for _, l := range p.lanes {
		l.cancelAll(nil, pluginv1.CancelReason_CANCEL_REASON_DRAINING)
	}
	grace, cancel := context.WithTimeout(context.Background(), p.opts.KillTimeout)
	defer cancel()
	if p.allEmpty(grace) == nil {
		return nil
	}
	for _, l := range p.lanes {
		l.giveUp("the host is shutting down")
	}
	last, cancel := context.WithTimeout(context.Background(), max(p.opts.KillTimeout, time.Second))
	defer cancel()
	if p.allEmpty(last) == nil {
		return nil
	}
	left := 0
	for _, l := range p.lanes {
		l.mu.Lock()
		left += len(l.entries)
		l.mu.Unlock()
	}
	return fmt.Errorf("drain: %d messages could not be settled or given back in time; they are delivered again when their leases end", left)
}

// allEmpty waits for the last entry of every lane.
func (p *Processor) allEmpty(ctx context.Context) error {
	for _, l := range p.lanes {
		select {
		case <-l.empty:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Stop ends all loops and joins them. Call Drain first, or messages in hand
// stay leased until their leases end.
func (p *Processor) Stop() {
	p.mu.Lock()
	started := p.started
	p.mu.Unlock()
	if !started {
		return
	}
	p.cancel()
	p.claiming.Wait()
	p.stopRest()
	p.rest.Wait()
	for _, l := range p.lanes {
		l.work.Wait()
	}
}

// ExecuteStepFromEvent wakes the lane of an event's queue: the event path.
func (p *Processor) ExecuteStepFromEvent(_ context.Context, event queues.Event) error {
	return p.hint(event)
}

// ExecuteStep wakes the lane of a queue in which a probe saw work: the poll
// path.
func (p *Processor) ExecuteStep(_ context.Context, event queues.Event) error {
	return p.hint(event)
}

// ErrUnknownQueue is wrapped when an event names a queue of no namespace.
var ErrUnknownQueue = errors.New("queue belongs to no namespace of this host")

func (p *Processor) hint(event queues.Event) error {
	l, ok := p.byQueue[event.Queue]
	if !ok {
		return fmt.Errorf("%w: %q", ErrUnknownQueue, event.Queue)
	}
	l.hint(event)
	return nil
}

// ErrUnknownNamespace is wrapped when a command names no namespace of this
// host.
var ErrUnknownNamespace = errors.New("unknown namespace")

func (p *Processor) lane(namespace string) (*lane, error) {
	l, ok := p.byName[namespace]
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrUnknownNamespace, namespace)
	}
	return l, nil
}

// Live names the loop that has not come round for longer than limit, if any.
func (p *Processor) Live(limit time.Duration) error {
	now := p.opts.Now()
	stuck := func(last int64) bool { return last != 0 && now.UnixNano()-last > int64(limit) }
	for _, l := range p.lanes {
		if stuck(l.progress.Load()) {
			return fmt.Errorf("the lane of namespace %q has not come round for %v", l.ns.Name, limit)
		}
	}
	if stuck(p.keeperProgress.Load()) {
		return fmt.Errorf("the lease keeper has not come round for %v", limit)
	}
	return nil
}
