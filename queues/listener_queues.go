package queues

import (
	"context"
	"fmt"
	"time"
)

// SetQueues replaces the queues that are listened for, at any time, and does
// not block. Queues that are new are listened for on the same connection and
// then swept, because whatever was sent before was announced to nobody here;
// until then WaitProven waits. What waits of queues that are gone is dropped.
func (l *Listener) SetQueues(names []string) {
	next := newQueueSet(names)
	l.mu.Lock()
	before := l.set
	added, removed := next.without(before), before.without(next)
	if len(added)+len(removed) == 0 {
		l.mu.Unlock()
		return
	}
	l.set = next
	if len(added) > 0 {
		l.loop.setProven(false)
	}
	if l.interrupt != nil {
		l.interrupt()
	}
	l.mu.Unlock()
	for _, queue := range removed {
		l.inbox.forget(queue)
	}
}

// queues is the set in force.
func (l *Listener) queues() *queueSet {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.set
}

// interruptible says how to end the receiving of a set's events. It reports
// false when the set is no longer the one in force: then there is nothing to
// receive for.
func (l *Listener) interruptible(set *queueSet, interrupt context.CancelFunc) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.interrupt = interrupt
	return l.set == set
}

// relisten makes the connection listen for another set.
func (l *Listener) relisten(ctx context.Context, sub Subscription, set *queueSet) error {
	l.loop.Beat(l.cfg.ConnectionTimeout)
	ctx, cancel := context.WithTimeout(ctx, l.cfg.ConnectionTimeout)
	defer cancel()
	if err := sub.Listen(ctx, set.names); err != nil {
		return fmt.Errorf("listen for other queues: %w", err)
	}
	return nil
}

// listensFor notes that the connection listens for another set now.
func (l *Listener) listensFor(set, before *queueSet) {
	added := set.without(before)
	l.prove(set, added)
	l.log.Info("listening for other queues; the added ones are swept",
		"queues", len(set.names), "added", len(added), "removed", len(before.without(set)))
}

// prove emits a sweep of the queues and says that the source works, unless the
// set has been replaced meanwhile.
func (l *Listener) prove(set *queueSet, sweep []string) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, queue := range sweep {
		if l.set.has(queue) {
			l.inbox.add(sweepOf(queue, now))
		}
	}
	if l.set == set {
		l.loop.setProven(true)
	}
}
