package processor

import (
	"context"
	"sync"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// The keeper's limits.
const (
	extendBatch   = 500 // leases in one statement
	maxKeeperTick = time.Second
	minKeeperTick = 50 * time.Millisecond
)

// keep extends the leases of all lanes, enforces step timeouts and gives back what
// waits for a slot for too long. It returns when ctx ends.
func (p *Processor) keep(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	round := keeping{incarnation: p.opts.Broker.Incarnation()}
	defer round.extensions.Wait()
	for {
		timer.Reset(min(max(p.limits.Load().Lease/12, minKeeperTick), maxKeeperTick))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.keepSoon:
		}
		p.keeperProgress.Store(p.opts.Now().UnixNano())
		p.observeBuffers()
		p.keepRound(ctx, &round)
	}
}

// keeping is what the keeper knows from one round to the next.
type keeping struct {
	incarnation uint64
	extensions  sync.WaitGroup
}

// keepRound looks after every lane once, without waiting for the extensions
// that it starts.
func (p *Processor) keepRound(ctx context.Context, k *keeping) {
	// A database that was started anew may have forgotten claims that were
	// committed asynchronously and hand their epochs out again: assert every
	// lease now, and take what does not match as lost.
	if current := p.opts.Broker.Incarnation(); current != k.incarnation {
		k.incarnation = current
		for _, l := range p.table().all {
			l.assertAll.Store(true)
		}
	}
	for _, l := range p.table().all {
		if hung := l.enforceTimeouts(); !p.ending.Load() {
			// At the end of the host all processes end anyway.
			abandonAll(hung)
		}
		l.dismissOverdue()
		// A lane whose last round is still under way (a locked table, say) keeps
		// nobody else's leases waiting.
		if l.extending.Load() {
			continue
		}
		all := l.assertAll.Swap(false)
		leases := l.dueLeases(all)
		if len(leases) == 0 {
			continue
		}
		l.extending.Store(true)
		k.extensions.Go(func() {
			answered := l.extend(ctx, leases)
			l.extending.Store(false)
			if l.assertAll.Load() {
				poke(p.keepSoon) // asked for while this round was under way
			}
			if all && !answered {
				// Most likely on a connection that the server's end has broken, and
				// nothing has been asserted: again in the next round.
				l.assertAll.Store(true)
			}
		})
	}
}

// observeBuffers says how full the bounded buffers are.
func (p *Processor) observeBuffers() {
	used, total := p.slots.usage()
	held, limit := p.budget.level()
	p.opts.Metrics.buffer("slots", float64(used), float64(total))
	p.opts.Metrics.buffer("bytes", float64(held), float64(limit))
}

// heldLease is a lease with its entry's id.
type heldLease struct {
	id    uint64
	lease queues.Lease
}

// assertLeases makes the keeper extend every lease of the lane now, whatever its
// age.
func (l *lane) assertLeases() {
	l.assertAll.Store(true)
	poke(l.keepSoon)
}

// dueLeases are the leases that are older than a third of their time. Short
// handlers never get that far.
func (l *lane) dueLeases(all bool) []heldLease {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) == 0 {
		l.moot(extendingLeases)
	}
	now := l.opts.Now()
	var due []heldLease
	for id, e := range l.entries {
		if !e.leaseLost && (all || e.term.isDue(now)) {
			due = append(due, heldLease{id, e.lease})
		}
	}
	return due
}

// extend prolongs leases in batches and cancels the steps whose leases are
// lost or may have run out. It reports whether the database has answered for all
// of them.
func (l *lane) extend(ctx context.Context, held []heldLease) (answered bool) {
	answered = true
	for len(held) > 0 {
		n := min(len(held), extendBatch)
		batch := held[:n]
		held = held[n:]
		leases := make([]queues.Lease, n)
		for i, h := range batch {
			leases[i] = h.lease
		}
		term := leaseTerm{l.opts.Now(), l.limits().Lease}
		callCtx, cancel := context.WithTimeout(ctx, max(term.length/6, time.Second))
		statuses, err := l.opts.Broker.Extend(callCtx, l.queue, leases, term.length)
		cancel()
		l.mu.Lock()
		switch {
		case err == nil:
			l.worked(extendingLeases)
		case ctx.Err() == nil:
			l.failed(extendingLeases, err, term.start)
		}
		l.mu.Unlock()
		l.extended(batch, statuses, err, term)
		answered = answered && err == nil
	}
	return answered
}

// extended notes what an extension told.
func (l *lane) extended(batch []heldLease, statuses []queues.ExtendStatus, err error, term leaseTerm) {
	toCancel := make(cancellations)
	var waiting []*entry
	l.mu.Lock()
	now := l.opts.Now()
	for i, h := range batch {
		e, ok := l.entries[h.id]
		if !ok || e.lease.Epoch != h.lease.Epoch {
			continue
		}
		switch {
		case err == nil && statuses[i] == queues.Extended:
			e.term = term
			continue
		case err == nil && statuses[i] == queues.ExtendLost:
			e.leaseLost = true
		case !e.term.isOver(now):
			continue // still ours for sure
		}
		// Lost, or not confirmed in time. What the handler answers anyway still
		// tries to settle.
		if e.state == running && e.cancelled == pluginv1.CancelReason_CANCEL_REASON_UNSPECIFIED {
			e.cancelled, e.cancelledAt = pluginv1.CancelReason_CANCEL_REASON_LEASE_LOST, now
			l.cancelling(toCancel, e)
		}
		if e.state == suspected || e.state == prefetched {
			waiting = append(waiting, e)
		}
	}
	l.mu.Unlock()
	l.dismiss(waiting, "the lease is lost")
	if n := toCancel.steps(); n > 0 {
		l.log.Warn("leases lost: the handlers are told to stop", "steps", n)
		toCancel.send(pluginv1.CancelReason_CANCEL_REASON_LEASE_LOST)
	}
}

// enforceTimeouts cancels steps whose time is up and stops waiting for those
// that ignore it, which it returns. An SDK times its handlers itself; this is for
// those that do not.
func (l *lane) enforceTimeouts() (hung []abandonment) {
	late := make(cancellations)
	l.finish(func() (abandoned []*entry) {
		if l.running == 0 {
			return nil
		}
		now := l.opts.Now()
		for _, e := range l.entries {
			if e.state != running {
				continue
			}
			if e.cancelled == pluginv1.CancelReason_CANCEL_REASON_UNSPECIFIED {
				if passed(e.deadline, now) {
					e.cancelled, e.cancelledAt = pluginv1.CancelReason_CANCEL_REASON_TIMEOUT, now
					l.cancelling(late, e)
				}
				continue
			}
			if now.Sub(e.cancelledAt) >= l.limits().KillTimeout {
				abandoned = append(abandoned, e)
				hung = append(hung, l.abandon(e, now))
			}
		}
		return abandoned
	})
	late.send(pluginv1.CancelReason_CANCEL_REASON_TIMEOUT)
	return hung
}
