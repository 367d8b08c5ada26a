package processor

import (
	"slices"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// prefetchClaims is for how many claims' time messages are claimed ahead. So a
// message waits here for milliseconds, and nobody else could have had it sooner.
const prefetchClaims = 4

// prefetchPatience is for how long a message waits here at most. Handlers that
// were quick when it was claimed may have turned slow since.
const prefetchPatience = time.Second

// prefetchBytes is the share of the host's bytes, one in so many, that a lane's
// messages may hold here. Others need room for what they have slots for.
const prefetchBytes = 4

// prefetch is a lane's messages that were claimed ahead of their slots. Where
// handlers are done in less time than a claim takes, slots would wait for the
// database, and claims would be many and small. So the lane claims as many more
// as its handlers get through while it claims; where they take longer that is
// none. What is claimed ahead has its lease and, but for large bodies, its step,
// and gets the slots that come free, the oldest first. What gets none in time is
// given back. The lane's mutex guards it.
type prefetch struct {
	waiting []*entry // oldest first
	bytes   int64    // of their bodies
	places  int      // how many may wait

	since time.Time // when the last claim ended, by the host's clock
	ended int       // handlers that have ended since
}

// paced learns from a claim how many may wait.
func (p *prefetch) paced(began, now time.Time) {
	if cycle := now.Sub(p.since); !p.since.IsZero() && cycle > 0 {
		places := int(float64(p.ended) / cycle.Seconds() * prefetchClaims * now.Sub(began).Seconds())
		p.places = (p.places + places) / 2
	}
	p.since, p.ended = now, 0
}

// forget makes the pace be learnt anew; until then none may wait.
func (p *prefetch) forget() { p.places, p.since, p.ended = 0, time.Time{}, 0 }

// free is how many more may wait. Until half of the places are free it is none, so
// that claims are large.
func (p *prefetch) free() int {
	if len(p.waiting) > p.places/2 {
		return 0
	}
	return p.places - len(p.waiting)
}

// fits tells whether a body may wait beside those that do, of a host that may
// hold limit bytes. One may always.
func (p *prefetch) fits(bytes, limit int64) bool {
	return len(p.waiting) == 0 || p.bytes+bytes <= limit/prefetchBytes
}

func (p *prefetch) add(e *entry, now time.Time) {
	e.state, e.aheadAt = prefetched, now
	p.waiting = append(p.waiting, e)
	p.bytes += e.bytes
}

func (p *prefetch) remove(e *entry) {
	if at := slices.Index(p.waiting, e); at >= 0 {
		p.waiting = slices.Delete(p.waiting, at, at+1)
		p.bytes -= e.bytes
	}
}

// take removes the oldest n.
func (p *prefetch) take(n int) []*entry {
	taken := p.waiting[:n:n]
	if p.waiting = p.waiting[n:]; len(p.waiting) == 0 {
		p.waiting = nil // so that it keeps no entry alive
	}
	for _, e := range taken {
		p.bytes -= e.bytes
	}
	return taken
}

func (p *prefetch) takeAll() []*entry { return p.take(len(p.waiting)) }

// takeOverdue removes those that have waited for too long, and forgets the pace
// that had them claimed.
func (p *prefetch) takeOverdue(now time.Time) []*entry {
	n := 0
	for n < len(p.waiting) && now.Sub(p.waiting[n].aheadAt) > prefetchPatience {
		n++
	}
	if n > 0 {
		p.forget()
	}
	return p.take(n)
}

// serve gives free slots to the messages that were claimed ahead.
func (l *lane) serve() {
	l.mu.Lock()
	if len(l.ahead.waiting) == 0 || l.paused || l.stopped {
		l.mu.Unlock()
		return
	}
	exec, ok := l.opts.Registry.Executor(l.name)
	if !ok {
		l.mu.Unlock()
		return // the lane gives them back
	}
	to := laneExecutor{Executor: exec, ExecutorState: exec.State()}
	want := 0
	if to.Ready {
		want = min(len(l.ahead.waiting), l.places(to.ExecutorState))
	}
	got := 0
	if want > 0 {
		// Whoever frees a slot wakes the lane.
		got = l.slots.reserve(l.share, want)
	}
	before := l.cancelled.Load()
	steps, started, ended := l.startPrefetched(to, got)
	l.mu.Unlock()
	l.slots.release(l.share, got-started, false)
	if ended > 0 {
		poke(l.kick)
	}
	if len(steps) == 0 {
		return
	}
	if l.opts.OnStep != nil {
		l.announce(steps)
	}
	l.dispatch(to.Executor, steps, before)
}

// startPrefetched starts the oldest n that can be. Those before them that cannot
// have ended. l.mu is held.
func (l *lane) startPrefetched(to laneExecutor, n int) (steps []*pluginv1.Step, started, ended int) {
	if n == 0 {
		return nil, 0, 0
	}
	now := l.opts.Now()
	steps = make([]*pluginv1.Step, 0, n)
	for started < n && len(l.ahead.waiting) > 0 {
		e := l.ahead.take(1)[0]
		switch {
		case e.leaseLost:
			// Its lease is extended no more, so nobody would tell its handler to stop.
			l.decide.release(e, "the lease is lost")
			l.enqueue(e)
			ended++
		case e.sent == nil:
			e.state, e.slot = fetching, true
			l.fetches = append(l.fetches, e)
			started++
		case e.mustWait(to.ExecutorState) || !to.resolves(e):
			// The plugin is another than the one that it was claimed for.
			l.decide.release(e, "the plugin has been replaced")
			l.enqueue(e)
			ended++
		default:
			e.slot = true
			e.timeout = l.timeout(to.ExecutorState)
			e.sent.TimeoutMs = e.timeout.Milliseconds()
			l.begin(e, to.Executor, now)
			steps = append(steps, e.sent)
			started++
		}
	}
	l.running += started
	l.startFetches()
	l.metrics.running.set(l.running)
	return steps, started, ended
}

// dismissOverdue gives back what waits for a slot for too long, so that others
// can have it.
func (l *lane) dismissOverdue() {
	l.finish(func() []*entry {
		overdue := l.ahead.takeOverdue(l.opts.Now())
		for _, e := range overdue {
			l.decide.release(e, "no slot came free in time")
		}
		return overdue
	})
}

// dismissPrefetched gives back all that wait for a slot.
func (l *lane) dismissPrefetched(why string) {
	l.finish(func() []*entry {
		all := l.ahead.takeAll()
		for _, e := range all {
			l.decide.release(e, why)
		}
		return all
	})
}
