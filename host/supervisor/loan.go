package supervisor

import (
	"errors"
	"math"
)

// loan is a process of the pool that suspects of a crash have for themselves: a
// plugin that needs something for itself alone (SwapStopFirst) must not have a
// second one beside it. While its only process is lent, the plugin takes no
// other steps.
type loan struct {
	proc *process
	// apart: everything else has come back, so what ends the process now is the
	// suspects' doing.
	apart bool
}

// of tells whether the process is lent and suspects alone can be with it.
func (l *loan) of(proc *process) bool { return l != nil && l.apart && l.proc == proc }

// onLoan gives one turn in a process of the pool.
func (b *probation) onLoan(req request) {
	proc, err := b.borrow()
	if err != nil {
		req.Refused(err)
		return
	}
	defer b.giveBack(proc)
	steps := req.Turn(int(proc.described.GetMaxConcurrency()))
	if len(steps) == 0 {
		return
	}
	group := newGroup(req.Suspects, steps)
	proc.dispatch(steps, group)
	switch b.outcome(proc, group) {
	case groupEnded, groupHangs:
	case groupCrashed, groupStopped:
		<-group.ended // its instance buries it
	}
}

// borrow waits for a ready process, takes it out of dispatch and waits until all
// that it has is answered. Steps have timeouts of their own.
func (b *probation) borrow() (*process, error) {
	proc, err := b.takeOut()
	if err != nil {
		return nil, err
	}
	proc.lend(true)
	p := b.plugin
	for !proc.idle() {
		select {
		case <-proc.relieved:
			continue
		case <-proc.failed:
		case <-proc.retired:
		case <-p.starts.Done():
		}
		b.giveBack(proc)
		return nil, errors.New("the plugin's process is gone")
	}
	p.mu.Lock()
	p.lent.apart = true
	p.mu.Unlock()
	return proc, nil
}

// takeOut takes the least loaded of the ready processes out of dispatch.
func (b *probation) takeOut() (*process, error) {
	p := b.plugin
	for {
		p.mu.Lock()
		why, changed := p.noProbation(), p.changed
		if why == nil && len(p.ready) > 0 {
			proc, least := p.ready[0], int64(math.MaxInt64)
			for _, other := range p.ready {
				if load := other.inFlight.Load(); load < least {
					proc, least = other, load
				}
			}
			p.left(proc)
			p.lent = &loan{proc: proc}
			p.publish()
			p.mu.Unlock()
			return proc, nil
		}
		p.mu.Unlock()
		if why != nil {
			return nil, why
		}
		<-changed
	}
}

// giveBack ends a loan. A process that still is its instance's takes steps
// again.
func (b *probation) giveBack(proc *process) {
	proc.lend(false)
	p := b.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lent = nil
	if proc.fit() {
		p.joined(proc)
	}
	p.publish()
}

// fit tells whether nothing is known to be wrong with the process.
func (p *process) fit() bool {
	select {
	case <-p.failed:
	case <-p.retired:
	default:
		return true
	}
	return false
}

// lend makes the process take steps of suspects alone, or of everyone again.
func (p *process) lend(to bool) {
	for _, s := range p.openStreams() {
		s.mu.Lock()
		s.lent = to
		s.mu.Unlock()
	}
}

// idle tells whether the process owes no answer.
func (p *process) idle() bool {
	for _, s := range p.openStreams() {
		s.mu.Lock()
		owed := len(s.sinks)
		s.mu.Unlock()
		if owed > 0 {
			return false
		}
	}
	return true
}

// relieve tells who waits for the stream's steps that some have come back;
// s.mu is held.
func (s *stream) relieve() {
	if !s.closing && !s.lent {
		return
	}
	select {
	case s.relieved <- struct{}{}:
	default:
	}
}
