package processor

import (
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

var _ Sink = (*lane)(nil)

// finish runs decided under the lane's mutex. The entries that it returns have
// their outcome: their slots are freed and they go to the settlers.
func (l *lane) finish(decided func() []*entry) {
	l.mu.Lock()
	done := decided()
	slots := 0
	for _, e := range done {
		if e.slot {
			e.slot = false
			slots++
			if e.apart() {
				l.suspects.running--
			}
		}
		l.enqueue(e)
	}
	l.running -= slots
	l.observeSuspects()
	l.ahead.ended += slots
	behind := len(l.ahead.waiting) > 0
	wake := l.hunger.hungry(l.opts.Now()) && (!behind || l.ahead.free() > 0) || len(l.suspects.waiting) > 0 && l.suspects.asked == nil
	settle := l.settleable()
	l.metrics.running.set(l.running)
	l.mu.Unlock()
	if len(done) == 0 {
		return
	}
	l.slots.release(l.share, slots, false)
	if settle {
		poke(l.kick)
	}
	if behind {
		l.serve()
	}
	if wake {
		poke(l.wake)
	}
}

// enqueue hands an entry that has its outcome to the settlers; l.mu is held.
func (l *lane) enqueue(e *entry) {
	e.state, e.sent = settling, nil
	l.pending = append(l.pending, e)
}

// Results implements Sink.
func (l *lane) Results(results []*pluginv1.Result) {
	again := redirection{lane: l}
	l.finish(func() []*entry {
		now := l.opts.Now()
		done := make([]*entry, 0, len(results))
		for _, res := range results {
			e, ok := l.entries[res.GetId()]
			if !ok || e.state != running {
				l.metrics.stray.Inc()
				continue
			}
			if res.GetNotAccepted() != nil && again.take(e) {
				continue
			}
			l.decide.result(e, res, now)
			// A second result for the same id in this batch must not count.
			e.state = settling
			done = append(done, e)
		}
		return done
	})
	again.dispatch()
}

// Heartbeats implements Sink. A lease is extended for as long as its step is
// in flight, so a sign of life changes nothing about it.
func (l *lane) Heartbeats(beats []*pluginv1.Heartbeat) {
	if !l.log.IsDebug() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, beat := range beats {
		if e, ok := l.entries[beat.GetId()]; ok {
			l.log.Debug("step progress", "message_id", e.lease.ID, "step", e.step,
				"fraction", beat.GetFraction(), "message", beat.GetMessage())
		}
	}
}

// Returned implements Sink: the steps never reached a handler.
func (l *lane) Returned(ids []uint64) {
	again := redirection{lane: l}
	l.finish(func() []*entry {
		return l.each(ids, func(e *entry) bool {
			switch {
			case again.take(e):
				return false
			case e.apart():
				// The plugin itself may well be ready: without a pause this would spin.
				l.decide.postpone(e, "the plugin's probation was not ready", postponed)
			default:
				l.decide.release(e, "the plugin was not ready")
			}
			return true
		})
	})
	again.dispatch()
}

// Lost implements Sink: the plugin ended under the steps.
func (l *lane) Lost(ids []uint64, cause error) {
	l.finish(func() []*entry {
		now := l.opts.Now()
		return l.each(ids, func(e *entry) bool {
			l.decide.lost(e, cause, now)
			return true
		})
	})
}

// each decides the running entries among ids and returns those that have an
// outcome; l.mu is held.
func (l *lane) each(ids []uint64, decide func(*entry) bool) []*entry {
	done := make([]*entry, 0, len(ids))
	for _, id := range ids {
		if e, ok := l.entries[id]; ok && e.state == running && decide(e) {
			e.state = settling
			done = append(done, e)
		}
	}
	return done
}
