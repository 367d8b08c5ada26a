package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/host/processor"
)

const (
	// probationPause bounds how often a process is started for suspects. They
	// are expected to crash it, so it does not grow.
	probationPause = 100 * time.Millisecond
	// probationIdle is how long a process is kept for the next turn.
	probationIdle = 10 * time.Second
)

// probation is where the suspects of a crash run: in a process of its own
// beside the plugin's instances, with the same specification. It is started
// when somebody asks for a turn and stopped when nobody has for a while. Its
// crashes are between it and its suspects: they count in no breaker, unless they
// are a streak.
//
// Its loop alone writes its fields, except queue, and holds the plugin's mutex
// where others read them.
type probation struct {
	plugin *Plugin
	wake   chan struct{} // has room for one signal

	queue  []request
	state  State
	reason string
	since  time.Time
	proc   *process
	used   bool // the process has run steps
	// attempts counts starts.
	attempts int
	lastErr  error
	// next is when the next process may be started, idle when that which waits
	// for a turn is stopped.
	next time.Time
	idle time.Time
}

// request asks for one turn.
type request struct {
	processor.Suspects
	fresh bool
}

// Apart implements processor.Executor.
func (p *Plugin) Apart(s processor.Suspects, fresh bool) {
	p.mu.Lock()
	why := p.noProbation()
	if why == nil {
		p.probation.queue = append(p.probation.queue, request{s, fresh})
	}
	p.mu.Unlock()
	if why != nil {
		s.Refused(why)
		return
	}
	select {
	case p.probation.wake <- struct{}{}:
	default:
	}
}

// noProbation is why no turns are given; p.mu is held.
func (p *Plugin) noProbation() error {
	switch {
	case p.stopping != nil:
		return ErrStopped
	case p.draining:
		return errors.New("the plugin is draining")
	case p.spec.Attach != nil:
		return errors.New("the plugin is an attached process")
	case p.breaker.open():
		_, reason := p.overall()
		return fmt.Errorf("the plugin has tripped: %s", reason)
	}
	return nil
}

// run gives turns until the plugin starts no process any more.
func (b *probation) run() {
	defer b.end()
	for {
		req, ok := b.await()
		if !ok {
			return
		}
		if b.plugin.spec.Swap == SwapStopFirst {
			b.onLoan(req)
			continue
		}
		proc, err := b.process(req.fresh)
		if err != nil {
			b.refuse(append([]request{req}, b.takeQueue()...), err)
			continue
		}
		b.turn(proc, req)
	}
}

// await waits for a request and stops a process that nobody needs any more.
// False: there will be none.
func (b *probation) await() (request, bool) {
	p := b.plugin
	for {
		p.mu.Lock()
		if p.starts.Err() != nil {
			p.mu.Unlock()
			return request{}, false
		}
		if why := p.noProbation(); why != nil && len(b.queue) > 0 {
			p.mu.Unlock()
			b.refuse(b.takeQueue(), why)
			continue
		}
		if len(b.queue) > 0 {
			req := b.queue[0]
			b.queue = b.queue[1:]
			p.mu.Unlock()
			return req, true
		}
		proc, changed := b.proc, p.changed
		now := p.deps.Clock.Now()
		wait := b.idle.Sub(now)
		var failed <-chan struct{}
		var idle, again <-chan time.Time
		if p.unprobed() {
			again = p.deps.Clock.After(p.breaker.openUntil.Sub(now))
		}
		p.mu.Unlock()

		if proc != nil {
			failed, idle = proc.failed, p.deps.Clock.After(wait)
		}
		select {
		case <-b.wake:
		case <-changed:
		case <-idle:
			b.discard(proc)
		case <-again:
			p.halfOpen()
		case <-failed:
			b.crashed(proc)
		case <-p.starts.Done():
		}
	}
}

// process returns a ready process, one that has run nothing before if fresh is
// wanted.
func (b *probation) process(fresh bool) (*process, error) {
	p := b.plugin
	if proc := b.proc; proc != nil {
		select {
		case <-proc.failed:
			b.crashed(proc)
		default:
			if !fresh || !b.used {
				return proc, nil
			}
			b.discard(proc)
		}
	}
	if wait := b.next.Sub(p.deps.Clock.Now()); wait > 0 {
		select {
		case <-p.deps.Clock.After(wait):
		case <-p.starts.Done():
		}
	}
	b.become(StateStarting, "suspects of a crash are to run", func() { b.attempts++; b.next = time.Time{} })
	proc, err := startProcess(p.starts, &p.spec, &p.deps, p.spec.Instances, p.log.With("probation", true), &p.counters)
	if err != nil {
		b.failed(err)
		return nil, err
	}
	b.become(StateReady, "suspects of a crash run apart", func() { b.proc, b.used, b.lastErr = proc, false, nil })
	return proc, nil
}

// turn runs one group.
func (b *probation) turn(proc *process, req request) {
	p := b.plugin
	p.mu.Lock()
	why := p.noProbation()
	p.mu.Unlock()
	if why != nil {
		req.Refused(why)
		return
	}
	if steps := req.Turn(int(proc.described.GetMaxConcurrency())); len(steps) > 0 {
		group := newGroup(req.Suspects, steps)
		b.used = true
		proc.dispatch(steps, group)
		switch b.outcome(proc, group) {
		case groupEnded:
		case groupCrashed:
			b.crashed(proc)
		case groupHangs:
			b.letGo(proc)
		case groupStopped:
			b.discard(proc)
		}
	}
	b.idle = p.deps.Clock.Now().Add(probationIdle)
}

// groupOutcome is how a turn ended.
type groupOutcome int

const (
	groupEnded groupOutcome = iota
	groupCrashed
	groupHangs
	groupStopped
)

// outcome waits for the end of a turn. Meanwhile it refuses those who have come
// to wait in vain: the plugin drains or has tripped, and somebody else may serve
// them.
func (b *probation) outcome(proc *process, group *group) groupOutcome {
	p := b.plugin
	for {
		p.mu.Lock()
		why, changed := p.noProbation(), p.changed
		p.mu.Unlock()
		if why != nil {
			b.refuse(b.takeQueue(), why)
		}
		select {
		case <-group.ended:
			return groupEnded
		case <-proc.failed:
			return groupCrashed
		case <-proc.retired:
			return groupHangs
		case <-p.stops:
			return groupStopped
		case <-changed:
		}
	}
}

// crashed buries a process that has failed.
func (b *probation) crashed(proc *process) {
	crash := proc.examine()
	b.become(StateBackingOff, inShort(crash), func() { b.lastErr = crash })
	crash = proc.buryCrashed(crash)
	b.plugin.log.Warn("plugin crashed in probation", "in_flight", crash.InFlight, "error", crash.Report())
	b.failed(crash)
	b.plugin.blame(crash)
}

// letGo leaves a process with a handler that hangs to its end.
func (b *probation) letGo(proc *process) {
	p := b.plugin
	p.log.Error("a handler hangs in probation: its process is replaced", "pid", proc.hang.PID, "error", proc.hang.Err)
	b.become(StateBackingOff, inShort(proc.hang), func() {
		b.proc, b.lastErr = nil, proc.hang
		p.hangs++
		p.retired[proc] = struct{}{}
	})
	p.running.Go(func() { p.layToRest(proc) })
}

// failed notes why there is no process and puts the next one off.
func (b *probation) failed(err error) {
	b.become(StateBackingOff, inShort(err), func() {
		b.proc, b.lastErr = nil, err
		b.next = b.plugin.deps.Clock.Now().Add(probationPause)
	})
}

// discard stops the process.
func (b *probation) discard(proc *process) {
	p := b.plugin
	b.become(StateDraining, "it is not needed any more", nil)
	ctx := context.Background()
	p.mu.Lock()
	if p.stopping != nil {
		ctx = p.stopping
	}
	p.mu.Unlock()
	proc.stop(ctx)
	b.become(StateStopped, "no suspects are to run", func() { b.proc = nil })
}

// end leaves nothing behind.
func (b *probation) end() {
	if b.proc != nil {
		b.discard(b.proc)
	}
	b.become(StateStopped, "the plugin is being stopped", nil)
	b.refuse(b.takeQueue(), ErrStopped)
}

func (b *probation) takeQueue() []request {
	b.plugin.mu.Lock()
	defer b.plugin.mu.Unlock()
	all := b.queue
	b.queue = nil
	return all
}

func (b *probation) refuse(all []request, why error) {
	for _, req := range all {
		req.Refused(why)
	}
}

// become changes the state, and what change writes with it.
func (b *probation) become(s State, reason string, change func()) {
	p := b.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.state != s {
		b.state, b.since = s, p.deps.Clock.Now()
	}
	b.reason = reason
	if change != nil {
		change()
	}
	p.publish()
}

// status tells what the probation is doing; false: it was never needed. The
// plugin's mutex is held.
func (b *probation) status() (InstanceStatus, bool) {
	s := InstanceStatus{
		Instance: b.plugin.spec.Instances, Probation: true,
		State: b.state, Reason: b.reason, Since: b.since, Restarts: max(b.attempts-1, 0),
	}
	if b.state == StateBackingOff {
		s.NextAttempt = b.next
	}
	if b.proc != nil {
		s.PID = b.proc.runner.pid()
		s.InFlight = int(b.proc.inFlight.Load())
	}
	if b.lastErr != nil {
		s.LastError = b.lastErr.Error()
	}
	return s, b.attempts > 0
}
