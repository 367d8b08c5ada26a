package processor

import (
	"context"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// Command is a request to the processor with a reply of type R. The commands
// are the seed's vocabulary; each is a struct whose fields are its arguments.
type Command[R any] interface {
	execute(ctx context.Context, p *Processor) (R, error)
}

// Do carries out a command and returns its reply.
func Do[R any](ctx context.Context, p *Processor, cmd Command[R]) (R, error) {
	return cmd.execute(ctx, p)
}

// None is the reply of a command that has nothing to say.
type None struct{}

// ExecuteStep makes the namespace's lane look into its queue, as a poll that
// saw work does.
type ExecuteStep struct{ Namespace string }

func (c ExecuteStep) execute(ctx context.Context, p *Processor) (None, error) {
	l, err := p.lane(c.Namespace)
	if err != nil {
		return None{}, err
	}
	return None{}, p.ExecuteStep(ctx, queues.Event{
		Kind: queues.EventStepReady, Source: queues.SourcePoll,
		Queue: l.queue, ReceivedAt: p.opts.Now(),
	})
}

// ExecuteStepFromEvent makes the lane of the event's queue act on it.
type ExecuteStepFromEvent struct{ Event queues.Event }

func (c ExecuteStepFromEvent) execute(ctx context.Context, p *Processor) (None, error) {
	return None{}, p.ExecuteStepFromEvent(ctx, c.Event)
}

// StepCompletion reports the outcome of a step that is in flight, as the
// plugin's stream does. A step that is not in flight is ignored.
type StepCompletion struct {
	Namespace string
	Result    *pluginv1.Result
}

func (c StepCompletion) execute(_ context.Context, p *Processor) (None, error) {
	l, err := p.lane(c.Namespace)
	if err != nil {
		return None{}, err
	}
	l.Results([]*pluginv1.Result{c.Result})
	return None{}, nil
}

// Pause stops a namespace from claiming; its messages stay queued.
type Pause struct{ Namespace string }

func (c Pause) execute(_ context.Context, p *Processor) (None, error) {
	l, err := p.lane(c.Namespace)
	if err == nil {
		l.setPaused(true)
	}
	return None{}, err
}

// Resume undoes Pause.
type Resume struct{ Namespace string }

func (c Resume) execute(_ context.Context, p *Processor) (None, error) {
	l, err := p.lane(c.Namespace)
	if err == nil {
		l.setPaused(false)
	}
	return None{}, err
}

// RefreshRegistry makes every lane look at the registry and its queue again.
type RefreshRegistry struct{}

func (RefreshRegistry) execute(_ context.Context, p *Processor) (None, error) {
	for _, l := range p.table().all {
		l.hint(queues.Event{
			Kind: queues.EventStepReady, Source: queues.SourceSweep,
			Queue: l.queue, ReceivedAt: p.opts.Now(),
		})
	}
	return None{}, nil
}

// Recall cancels the steps that are with an executor which is to end before
// they do. Their handlers are told that the plugin drains, and what they answer
// by giving up costs the messages nothing.
type Recall struct{ Executor Executor }

func (c Recall) execute(_ context.Context, p *Processor) (None, error) {
	for _, l := range p.table().all {
		l.cancelAll(c.Executor, pluginv1.CancelReason_CANCEL_REASON_DRAINING)
	}
	return None{}, nil
}

// GetStatus asks what the processor is doing.
type GetStatus struct{}

// Status is a snapshot of the processor.
type Status struct {
	Namespaces []NamespaceStatus
	SlotsUsed  int
	SlotsTotal int
	BytesHeld  int64
	BytesLimit int64
}

// NamespaceStatus is a snapshot of one lane.
type NamespaceStatus struct {
	Namespace Namespace
	Paused    bool
	// Leaving means that the namespace has been removed, or has moved to another
	// queue, and that this lane only finishes what it has in hand.
	Leaving bool
	// Blocked says why the lane does not claim although it is not paused.
	Blocked string
	// Faults are what it fails to do in the database, as long as it does.
	Faults  []string
	Running int
	// Suspects are the messages that wait for, or are in, the plugin's
	// probation; those in it are among Running too.
	Suspects int
	// Prefetched are claimed and wait for a slot.
	Prefetched int
	Settling   int
	Counts     map[Outcome]uint64
	LastError  string
}

func (GetStatus) execute(_ context.Context, p *Processor) (Status, error) {
	lanes := p.table().all
	status := Status{Namespaces: make([]NamespaceStatus, 0, len(lanes))}
	for _, l := range lanes {
		status.Namespaces = append(status.Namespaces, l.snapshot())
	}
	status.SlotsUsed, status.SlotsTotal = p.slots.usage()
	status.BytesHeld, status.BytesLimit = p.budget.level()
	return status, nil
}

func (l *lane) snapshot() NamespaceStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make(map[Outcome]uint64, len(l.status.counts))
	for o, n := range l.status.counts {
		counts[o] = n
	}
	return NamespaceStatus{
		Namespace:  l.ns,
		Paused:     l.paused,
		Leaving:    l.leaving,
		Blocked:    l.status.blocked,
		Faults:     l.faults(),
		Running:    l.running,
		Suspects:   len(l.suspects.waiting) + l.suspects.running,
		Settling:   len(l.entries) - l.running - len(l.suspects.waiting) - len(l.ahead.waiting),
		Prefetched: len(l.ahead.waiting),
		Counts:     counts,
		LastError:  l.status.lastError,
	}
}

// CheckHealth asks whether the processor can work.
type CheckHealth struct{}

// Health is the processor's own view: whether its loops come round and the
// database answers.
type Health struct {
	Live     error
	Database error
}

// loopLimit is how long a loop may take to come round before it counts as
// stuck: longer than the deadlines of all that it waits for.
const loopLimit = 45 * time.Second

func (CheckHealth) execute(ctx context.Context, p *Processor) (Health, error) {
	return Health{Live: p.Live(loopLimit), Database: p.opts.Broker.Ping(ctx)}, nil
}

// Shutdown drains and stops the processor; see Processor.Drain.
type Shutdown struct{}

func (Shutdown) execute(ctx context.Context, p *Processor) (None, error) {
	err := p.Drain(ctx)
	p.Stop()
	return None{}, err
}
