package processor

import (
	"slices"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

var _ Suspects = (*lane)(nil)

// postponed is how long a suspect is given back for that cannot have its turn.
const postponed = time.Second

// The shares of the lane's outcomes and of the host's bytes that waiting
// suspects may hold. More of them are given back for a while, so that the rest
// of the work goes on.
const (
	suspectEntries = 2 // one in two
	suspectBytes   = 4 // one in four
)

// park puts a suspect that was claimed on the list, or decides to give it back.
// It reports whether the entry is on the list; l.mu is held.
func (l *lane) park(e *entry) bool {
	s, limits := &l.suspects, l.limits()
	switch {
	case l.paused || l.stopped:
		l.decide.release(e, "the namespace starts nothing any more")
		return false
	case len(s.waiting) >= max(limits.SettlementBuffer/suspectEntries, 1),
		len(s.waiting) > 0 && s.bytes+e.bytes > limits.Bytes/suspectBytes:
		l.decide.postpone(e, "more suspects of a crash wait already than may", postponed)
		return false
	}
	s.add(e)
	l.observeSuspects()
	return true
}

// convene gathers slots for the next group of suspects and asks for its turn.
// Claims leave it the first slots that come free, up to half of what the
// namespace may have, so that neither side waits for the other. A group that
// could get fewer runs with those.
func (l *lane) convene() {
	l.mu.Lock()
	none := len(l.suspects.waiting) == 0 && l.suspects.slots == 0
	l.mu.Unlock()
	if none {
		return
	}
	exec, ok := l.opts.Registry.Executor(l.name)
	if !ok {
		l.dismissSuspects(func(e *entry) { l.decide.postpone(e, "no plugin is registered for the namespace", postponed) })
		return
	}
	l.mu.Lock()
	s := &l.suspects
	surplus := l.trimSlots()
	// Whoever frees a slot wakes the lane.
	if want := min(l.slotsForSuspects()-s.slots, l.ns.Concurrency-l.running-s.slots); want > 0 {
		s.slots += l.slots.reserve(l.share, want)
	}
	ask := s.asked == nil && s.running == 0 && s.slots > 0
	if ask {
		s.asked, s.fresh = exec, s.alone()
	}
	fresh := s.fresh
	l.mu.Unlock()
	l.slots.release(l.share, surplus, false)
	if ask {
		exec.Apart(l, fresh)
	}
}

// slotsForSuspects is how many slots are to be held for the next group beside
// those of the one that runs; l.mu is held.
func (l *lane) slotsForSuspects() int {
	if len(l.suspects.waiting) == 0 {
		return 0
	}
	half := max(min(l.ns.Concurrency, l.limits().MaxConcurrent)/2, 1)
	return max(min(l.suspects.next(), half-l.suspects.running), 0)
}

// trimSlots gives up the slots that suspects have no use for. The caller
// releases as many as it returns; l.mu is held.
func (l *lane) trimSlots() (surplus int) {
	surplus = max(l.suspects.slots-l.slotsForSuspects(), 0)
	l.suspects.slots -= surplus
	return surplus
}

// Turn implements Suspects.
func (l *lane) Turn(limit int) []*pluginv1.Step {
	l.mu.Lock()
	s := &l.suspects
	exec := s.asked
	s.asked = nil
	most := s.slots
	if limit > 0 {
		most = min(most, limit)
	}
	if s.alone() && !s.fresh {
		most = 0 // who must run alone has become the first meanwhile
	}
	group := s.take(most)
	taken := len(group)
	group = slices.DeleteFunc(group, func(e *entry) bool {
		if e.leaseLost {
			// Its lease is extended no more, so nobody would tell its handler to stop.
			l.decide.release(e, "the lease is lost")
			l.enqueue(e)
		}
		return e.leaseLost
	})
	now := l.opts.Now()
	steps := make([]*pluginv1.Step, 0, len(group))
	for _, e := range group {
		e.group, e.slot = len(group), true
		l.begin(e, exec, now)
		steps = append(steps, e.sent)
	}
	s.slots -= len(group)
	s.running = len(group)
	l.running += len(group)
	surplus := l.trimSlots()
	l.metrics.running.set(l.running)
	l.observeSuspects()
	l.mu.Unlock()
	l.slots.release(l.share, surplus, false)
	if len(group) < taken {
		poke(l.kick)
	}
	if len(group) == 0 {
		poke(l.wake)
	}
	if l.opts.OnStep != nil {
		l.announce(steps)
	}
	return steps
}

// Refused implements Suspects.
func (l *lane) Refused(cause error) {
	l.mu.Lock()
	refuser := l.suspects.asked
	l.suspects.asked = nil
	l.mu.Unlock()
	if exec, ok := l.opts.Registry.Executor(l.name); ok && exec != refuser {
		poke(l.wake) // the plugin has been swapped: ask the new one
		return
	}
	l.dismissSuspects(func(e *entry) { l.decide.postpone(e, cause.Error(), postponed) })
}

// dismissSuspects gives back all that wait.
func (l *lane) dismissSuspects(decide func(*entry)) {
	l.finish(func() []*entry {
		all := l.suspects.takeAll()
		for _, e := range all {
			decide(e)
		}
		return all
	})
	l.mu.Lock()
	surplus := l.trimSlots()
	l.mu.Unlock()
	l.slots.release(l.share, surplus, false)
}

// dismiss gives back those that still wait.
func (l *lane) dismiss(some []*entry, why string) {
	if len(some) == 0 {
		return
	}
	l.finish(func() (done []*entry) {
		for _, e := range some {
			if e.state == suspected || e.state == prefetched {
				l.suspects.remove(e)
				l.ahead.remove(e)
				l.decide.release(e, why)
				done = append(done, e)
			}
		}
		return done
	})
}

// observeSuspects updates the gauge; l.mu is held.
func (l *lane) observeSuspects() {
	l.metrics.suspects.set(len(l.suspects.waiting) + l.suspects.running)
}
