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
// of life is New, Start, Drain, Stop; between New and Drain the namespaces and
// limits can be changed with Apply.
type Processor struct {
	opts   Options
	limits atomic.Pointer[Limits]
	slots  *slots
	budget *budget
	nextID atomic.Uint64
	lanes  atomic.Pointer[laneTable]

	keeperProgress atomic.Int64
	// ending: Drain has begun, for those that must not wait for mu.
	ending   atomic.Bool
	keepSoon chan struct{} // one place

	mu       sync.Mutex // held while the table or the state of life changes
	state    lifeState
	stopped  chan struct{}      // closed by Stop
	endKeep  context.CancelFunc // ends the keeper
	keeper   sync.WaitGroup
	partings sync.WaitGroup // removals that are under way
}

// lifeState is where a processor is in its life.
type lifeState int

const (
	built lifeState = iota
	started
	draining
)

// New builds the lanes; nothing runs yet.
func New(opts Options) *Processor {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	p := &Processor{
		opts:     opts,
		slots:    newSlots(opts.MaxConcurrent),
		budget:   newBudget(opts.Bytes),
		keepSoon: make(chan struct{}, 1),
		stopped:  make(chan struct{}),
	}
	p.limits.Store(&opts.Limits)
	lanes := make([]*lane, 0, len(opts.Namespaces))
	for _, ns := range opts.Namespaces {
		lanes = append(lanes, newLane(p, ns))
	}
	p.lanes.Store(newLaneTable(lanes, nil))
	return p
}

// Start runs the lanes until Stop.
func (p *Processor) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != built {
		return
	}
	p.state = started
	keepCtx, endKeep := context.WithCancel(context.Background())
	p.endKeep = endKeep
	p.keeperProgress.Store(p.opts.Now().UnixNano())
	for _, l := range p.table().all {
		l.start()
	}
	p.keeper.Go(func() { p.keep(keepCtx) })
}

// Drain stops claiming and waits until every message in hand is settled. At
// ctx's end it cancels the handlers, waits KillTimeout for them and then gives
// back what is unfinished, so that another host can take it at once. The error
// says how many messages could not even be given back; they come back when
// their leases end.
func (p *Processor) Drain(ctx context.Context) error {
	p.mu.Lock()
	p.state = draining
	p.ending.Store(true)
	lanes := p.table().all
	p.mu.Unlock()
	for _, l := range lanes {
		l.stop()
	}
	for _, l := range lanes {
		l.close()
	}
	if allEmpty(ctx, lanes) == nil {
		return nil
	}
	for _, l := range lanes {
		l.cancelAll(nil, pluginv1.CancelReason_CANCEL_REASON_DRAINING)
	}
	grace, cancel := context.WithTimeout(context.Background(), p.limits.Load().KillTimeout)
	defer cancel()
	if allEmpty(grace, lanes) == nil {
		return nil
	}
	for _, l := range lanes {
		l.giveUp("the host is shutting down")
	}
	last, cancel := context.WithTimeout(context.Background(), max(p.limits.Load().KillTimeout, time.Second))
	defer cancel()
	if allEmpty(last, lanes) == nil {
		return nil
	}
	left := 0
	for _, l := range lanes {
		l.mu.Lock()
		left += len(l.entries)
		l.mu.Unlock()
	}
	return fmt.Errorf("drain: %d messages could not be settled or given back in time; they are delivered again when their leases end", left)
}

// allEmpty waits for the last entry of every lane.
func allEmpty(ctx context.Context, lanes []*lane) error {
	for _, l := range lanes {
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
	p.state = draining
	select {
	case <-p.stopped:
	default:
		close(p.stopped)
	}
	lanes, endKeep := p.table().all, p.endKeep
	p.mu.Unlock()
	for _, l := range lanes {
		l.stopClaiming()
	}
	for _, l := range lanes {
		l.join()
	}
	p.partings.Wait()
	if endKeep != nil {
		endKeep()
		p.keeper.Wait()
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
	l, ok := p.table().byQueue[event.Queue]
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
	l, ok := p.table().byName[namespace]
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrUnknownNamespace, namespace)
	}
	return l, nil
}

// Live names the loop that has not come round for longer than limit, if any.
func (p *Processor) Live(limit time.Duration) error {
	now := p.opts.Now()
	stuck := func(last int64) bool { return last != 0 && now.UnixNano()-last > int64(limit) }
	for _, l := range p.table().all {
		if stuck(l.progress.Load()) {
			return fmt.Errorf("the lane of namespace %q has not come round for %v", l.name, limit)
		}
	}
	if stuck(p.keeperProgress.Load()) {
		return fmt.Errorf("the lease keeper has not come round for %v", limit)
	}
	return nil
}
