package processor

import (
	"context"
	"errors"
	"sync"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// ErrDraining is returned by Apply when the processor is about to end.
var ErrDraining = errors.New("the processor is draining")

// Plan is what a running processor is to become.
type Plan struct {
	Namespaces []Namespace
	Limits     Limits
	// DrainTimeout is how long the handlers of removed namespaces may go on
	// before they are cancelled.
	DrainTimeout time.Duration
	// Rebind points the registry at what the plan needs. It is called when the
	// removed namespaces claim no more and before the added ones do. After an
	// error nothing has changed. May be nil.
	Rebind func() error
}

// Apply makes the processor serve other namespaces under other limits, while it
// runs. When it returns the plan is in force:
//
//   - A namespace that is new claims. One that was paused under the same name
//     before stays paused.
//   - One that has changed goes on with the new values. They apply to everything
//     that is decided from then on; a step that runs keeps the timeout that it
//     was told. Fewer slots interrupt nothing, they fill later.
//   - One that is not in the plan claims no more. What it has in hand is finished
//     as in a drain: handlers have DrainTimeout, are cancelled, have KillTimeout,
//     and then their messages are given back. A namespace that reads another
//     queue is removed and added.
//   - A lease of another length is asserted at once for all that is in hand.
//
// The channel is closed when the last removed lane is gone, with its goroutines
// and metrics. Calls come one after the other; the plan must be valid. ctx only
// bounds the wait for claims of removed namespaces that are under way.
func (p *Processor) Apply(ctx context.Context, plan Plan) (gone <-chan struct{}, err error) {
	removed, gone, err := p.apply(plan)
	if err != nil {
		return nil, err
	}
	for _, l := range removed {
		select {
		case <-l.quiet:
		case <-ctx.Done():
		}
	}
	return gone, nil
}

// apply returns the lanes that are told to go.
func (p *Processor) apply(plan Plan) (removed []*lane, gone <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == draining {
		return nil, nil, ErrDraining
	}
	old := p.table()
	removed = old.missingFrom(plan.Namespaces)
	if err := rebind(plan, removed); err != nil {
		return nil, nil, err
	}
	p.applyLimits(plan.Limits)
	serving := make([]*lane, 0, len(plan.Namespaces))
	var added []*lane
	for _, ns := range plan.Namespaces {
		l := old.byName[ns.Name]
		if l != nil && l.queue == ns.Queue {
			l.change(ns)
		} else {
			l = p.newcomer(ns, l)
			added = append(added, l)
		}
		serving = append(serving, l)
	}
	p.lanes.Store(newLaneTable(serving, append(old.leaving(), removed...)))
	for _, l := range serving {
		poke(l.wake)
	}
	if p.state == started {
		for _, l := range added {
			l.start()
		}
	}
	return removed, p.part(removed, plan.DrainTimeout), nil
}

// rebind holds the removed lanes and calls the plan's Rebind.
func rebind(plan Plan, removed []*lane) error {
	for _, l := range removed {
		l.hold(true)
	}
	if plan.Rebind == nil {
		return nil
	}
	if err := plan.Rebind(); err != nil {
		for _, l := range removed {
			l.hold(false)
		}
		return err
	}
	return nil
}

// applyLimits puts limits into force. No lane has to be told: each reads them
// when it next decides something, and Apply wakes it for that.
func (p *Processor) applyLimits(limits Limits) {
	before := p.limits.Swap(&limits)
	p.slots.resize(limits.MaxConcurrent)
	p.budget.resize(limits.Bytes)
	if before.Lease != limits.Lease {
		for _, l := range p.table().all {
			l.assertLeases()
		}
	}
}

// newcomer builds the lane of a namespace that is new, or that takes the place
// of a lane of the same name. It looks into its queue without being told.
func (p *Processor) newcomer(ns Namespace, predecessor *lane) *lane {
	l := newLane(p, ns)
	if predecessor != nil {
		predecessor.mu.Lock()
		l.paused = predecessor.paused
		predecessor.mu.Unlock()
	}
	l.hunger.feed(queues.Event{Source: queues.SourceSweep, ReceivedAt: p.opts.Now()})
	return l
}

// part lets lanes go. The channel is closed when all of them are gone.
func (p *Processor) part(lanes []*lane, patience time.Duration) <-chan struct{} {
	gone := make(chan struct{})
	var all sync.WaitGroup
	for _, l := range lanes {
		l.leave()
		all.Go(func() { p.remove(l, patience) })
	}
	p.partings.Go(func() {
		all.Wait()
		close(gone)
	})
	return gone
}

// remove waits until a lane has finished and takes it away. The end of the
// processor ends it early: then the drain has done the rest.
func (p *Processor) remove(l *lane, patience time.Duration) {
	if !p.outlast(l, patience) {
		return
	}
	l.join()
	p.mu.Lock()
	defer p.mu.Unlock()
	table := p.table()
	p.slots.leave(l.share)
	p.lanes.Store(table.dropping(l))
	if _, replaced := table.byName[l.name]; !replaced {
		p.opts.Metrics.forget(l.name)
	}
	l.log.Info("namespace has left its queue")
}

// outlast waits for the lane's last entry: first for its handlers, then for those
// that were cancelled, then for the database to take back what is unfinished,
// for as long as that takes. It reports false when the processor ended first.
func (p *Processor) outlast(l *lane, patience time.Duration) bool {
	for _, stage := range []struct {
		patience time.Duration
		then     func()
	}{
		{patience, func() { l.cancelAll(nil, pluginv1.CancelReason_CANCEL_REASON_DRAINING) }},
		{p.limits.Load().KillTimeout, func() { abandonAll(l.giveUp("the namespace was removed from this host")) }},
	} {
		timer := time.NewTimer(stage.patience)
		select {
		case <-l.empty:
			timer.Stop()
			return true
		case <-p.stopped:
			timer.Stop()
			return false
		case <-timer.C:
			stage.then()
		}
	}
	select {
	case <-l.empty:
		return true
	case <-p.stopped:
		return false
	}
}
