package processor

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/stephost/stephost/internal/wait"
	"github.com/stephost/stephost/queues"
)

// maxRefusals is how many different settlements of one entry are tried.
const maxRefusals = 4

// The bounds of one settlement statement.
const (
	settleBatchCount = 1000
	settleBatchBytes = 4 << 20
)

// settlers is how many settlements of a lane may be under way at a time. One at a
// time is cheaper, since batches grow larger; but where steps send much the
// database is busy with it for longer than the others with all the rest.
const settlers = 2

// settle is one of the lane's settlers. The first flushes at once when it is idle
// and gathers while a flush is under way, so batches grow with the load and
// latency stays low without any timer. The other one begins when so many outcomes
// wait that claims are about to be held up. Both return when ctx ends.
func (l *lane) settle(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.kick:
		}
		for {
			batch := l.beginFlush()
			if len(batch) == 0 {
				break
			}
			// The pause is part of the flush, or the other settler would try meanwhile.
			if !l.flush(ctx, batch) && wait.For(ctx, 200*time.Millisecond+rand.N(300*time.Millisecond)) != nil {
				return
			}
			l.endFlush()
		}
	}
}

// settleable tells whether a settler that is idle would begin a flush. Whoever
// ends one looks again, so nobody has to be woken when it does not. l.mu is held.
func (l *lane) settleable() bool {
	if l.flushes == 0 {
		return len(l.pending) > 0
	}
	return l.flushes < settlers && len(l.pending) > l.limits().SettlementBuffer/2
}

// beginFlush takes a batch for a flush, or nothing when none is to begin.
func (l *lane) beginFlush() []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.settleable() {
		return nil
	}
	l.flushes++
	return l.takeBatch()
}

func (l *lane) endFlush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushes--
}

// takeBatch takes the oldest outcomes, bounded by count and bytes. l.mu is held.
func (l *lane) takeBatch() []*entry {
	n, bytes := 0, 0
	for n < len(l.pending) && n < settleBatchCount && (n == 0 || bytes < settleBatchBytes) {
		bytes += sendSize(l.pending[n].action)
		n++
	}
	batch := l.pending[:n:n]
	l.pending = l.pending[n:]
	if len(l.pending) == 0 {
		l.pending = nil
	}
	return batch
}

func sendSize(action queues.Action) (size int) {
	var send []queues.Outgoing
	switch a := action.(type) {
	case queues.Complete:
		send = a.Send
	case queues.DeadLetter:
		send = a.Send
	}
	for _, out := range send {
		size += len(out.Body) + len(out.Headers)
	}
	return size
}

// flush settles a batch and deals with what each member's fate means. It
// reports whether all is well; if not, the settler pauses.
func (l *lane) flush(ctx context.Context, batch []*entry) (ok bool) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	l.mu.Lock()
	settlements := make([]queues.Settlement, len(batch))
	for i, e := range batch {
		settlements[i] = queues.Settlement{Lease: e.lease, Action: e.action}
	}
	l.underWay += len(batch)
	l.metrics.settling.set(len(l.pending) + l.underWay)
	l.mu.Unlock()

	results := l.opts.Broker.Settle(ctx, l.queue, settlements)

	l.metrics.settled.Observe(float64(len(batch)))
	now := l.opts.Now()
	gone, ok := l.acknowledge(batch, settlements, results, now)
	l.mu.Lock()
	l.underWay -= len(batch)
	l.metrics.settling.set(len(l.pending) + l.underWay)
	l.mu.Unlock()
	// The lane may have a message to wait for now.
	poke(l.wake)
	l.report(gone, now)
	return ok
}

// fate is what became of an entry, for metrics and observers.
type fate struct {
	*entry
	outcome Outcome
}

// acknowledge removes what is settled or lost and queues the rest again.
func (l *lane) acknowledge(batch []*entry, tried []queues.Settlement, results []queues.SettleResult, now time.Time) (gone []fate, ok bool) {
	gone = make([]fate, 0, len(batch))
	ok = true
	var freed int64
	l.mu.Lock()
	for i, e := range batch {
		switch results[i].Status {
		case queues.Settled:
			gone = append(gone, fate{e, e.outcome})
		case queues.LeaseLost:
			if e.lease.Epoch != tried[i].Epoch {
				// Adopted meanwhile: settle under the newer epoch.
				l.pending = append(l.pending, e)
				continue
			}
			outcome := OutcomeLeaseLost
			if e.settled.unknown {
				// An earlier try may have been the one that took the row.
				outcome = e.outcome
			}
			gone = append(gone, fate{e, outcome})
		case queues.Refused:
			l.metrics.refused.Inc()
			if l.refuse(e, results[i].Err) {
				l.pending = append(l.pending, e)
			} else {
				gone = append(gone, fate{e, OutcomeLeaseLost})
			}
		case queues.SettleUnknown:
			l.metrics.settleFault.Inc()
			e.settled.unknown = true
			ok = false
			if results[i].Err != nil {
				l.failed(settlingMessages, results[i].Err, now)
			}
			l.pending = append(l.pending, e)
		}
	}
	for _, g := range gone {
		freed += g.bytes
		delete(l.entries, g.id)
		if l.byMessage[g.lease.ID] == g.entry {
			delete(l.byMessage, g.lease.ID)
		}
		l.status.counts[g.outcome]++
		switch action := g.action.(type) {
		case queues.Retry:
			l.hunger.dueIn(now, action.Delay)
		case queues.Release:
			l.hunger.dueIn(now, 0)
		}
	}
	if ok {
		l.worked(settlingMessages)
	}
	if len(gone) > 0 {
		l.checkEmpty()
	}
	l.mu.Unlock()
	l.budget.release(freed)
	return gone, ok
}

// refuse replaces a settlement that the database will not take. It reports
// false when even giving the message back is refused: then it is left to its
// lease. l.mu is held.
func (l *lane) refuse(e *entry, cause error) bool {
	e.settled.refusals++
	switch {
	case e.settled.refusals > maxRefusals:
		l.logRefusal(e, cause)
		return false
	case l.missingResults(cause):
		// Not the handler's doing, and the lane stops claiming until the queue is
		// back and says so: giving the message back costs nothing.
		l.decide.release(e, cause.Error())
	default:
		l.logRefusal(e, cause)
		l.decide.refused(e, cause, l.opts.Now())
	}
	return true
}

func (l *lane) logRefusal(e *entry, cause error) {
	l.log.Error("the database refused a settlement", "message_id", e.lease.ID, "step", e.stepName(), "error", cause)
}

// missingResults tells whether the missing queue is the result queue.
func (l *lane) missingResults(cause error) bool {
	var missing *queues.MissingQueueError
	return errors.As(cause, &missing) && missing.Queue == l.ns.ResultQueue
}

// report feeds metrics and observers; no lock is held.
func (l *lane) report(gone []fate, now time.Time) {
	for _, g := range gone {
		total := now.Sub(g.claimCall)
		l.metrics.steps[g.outcome].Inc()
		l.metrics.total.Observe(total.Seconds())
		if g.duration > 0 {
			l.metrics.handler.Observe(g.duration.Seconds())
		}
		if retry, is := g.action.(queues.Retry); is && l.opts.Rescheduled != nil {
			l.opts.Rescheduled(l.queue, retry.Delay)
		}
		if l.opts.OnStep != nil {
			l.opts.OnStep(StepEvent{
				Kind: StepSettled, Namespace: l.name, Step: g.stepName(),
				MessageID: g.lease.ID, Attempt: g.attempt(), Waited: g.waited,
				Outcome: g.outcome, StartedAt: g.started, Duration: g.duration, Total: total, Err: g.errText,
			})
		}
	}
}
