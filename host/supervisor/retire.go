package supervisor

import (
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/host/processor"
)

// HangError is a process that the host ended because a handler in it ignored
// its cancellation. It is also the cause of the steps that were lost with it.
type HangError struct {
	Plugin   string
	Instance int
	PID      int
	// Err names the handler.
	Err error
}

func (e *HangError) Error() string {
	return fmt.Sprintf("plugin %q (instance %d, pid %d) was replaced: %v", e.Plugin, e.Instance, e.PID, e.Err)
}

func (e *HangError) short() string { return e.Err.Error() }

func (e *HangError) Unwrap() error { return e.Err }

// message identifies the message with which the handler hung; empty: unknown.
func (e *HangError) message() string {
	var hung *processor.HungHandlerError
	if !errors.As(e.Err, &hung) {
		return ""
	}
	return fmt.Sprintf("%s/%d", hung.Namespace, hung.MessageID)
}

// Bystander reports that the steps that were lost with the process have not
// ended it.
func (e *HangError) Bystander() bool { return true }

// Abandon implements processor.Executor: each process that has one of the
// steps is retired. It takes no more steps, another one is started in its
// place, and it is killed once its other steps have come back or the time for
// that is over.
func (p *Plugin) Abandon(ids []uint64, cause error) {
	p.mu.Lock()
	procs := p.processes()
	p.mu.Unlock()
	for _, proc := range procs {
		if proc.abandon(ids) {
			proc.retire(cause)
		}
	}
}

// abandon gives up on those of the steps that the process has, and reports
// whether there are any.
func (p *process) abandon(ids []uint64) bool {
	small, large := p.small.abandon(ids), p.large.abandon(ids)
	return small || large
}

// retire declares that the process is to be replaced. The first handler that
// hangs counts.
func (p *process) retire(cause error) {
	p.retireOnce.Do(func() {
		p.hang = &HangError{Plugin: p.spec.Name, Instance: p.instance, PID: p.runner.pid(), Err: cause}
		close(p.retired)
	})
}

// replace leaves a retired process to itself, so that its instance can start
// another one. That is a crash to the breaker, lest handlers that hang one after
// the other have processes started without end; but it costs no delay, unless
// there must not be two processes: then the old one ends first.
func (i *instance) replace(proc *process) {
	p := i.plugin
	tripped := i.letGo(proc)
	p.log.Error("a handler hangs: its process is replaced", "instance", i.number, "pid", proc.hang.PID,
		"tripped", tripped, "steps_in_flight", proc.inFlight.Load(), "error", proc.hang.Err)
	if p.spec.Swap == SwapStopFirst {
		p.layToRest(proc)
		return
	}
	p.running.Go(func() { p.layToRest(proc) })
}

// letGo parts the instance from its process and reports whether the breaker is
// open now.
func (i *instance) letGo(proc *process) bool {
	p := i.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left(proc)
	p.hangs++
	p.retired[proc] = struct{}{}
	i.proc = nil
	i.lastErr = proc.hang
	i.next = time.Time{}
	p.breaker.hang(p.deps.Clock.Now(), proc.hang.message())
	if p.breaker.open() || p.spec.Swap == SwapStopFirst {
		i.become(StateBackingOff, inShort(proc.hang))
	} else {
		i.become(StateStarting, i.againReason())
	}
	return p.breaker.open()
}

// layToRest ends a retired process.
func (p *Plugin) layToRest(proc *process) {
	// What has not started comes back now.
	proc.halfClose()
	if crash := p.spareOthers(proc); crash != nil {
		crash = proc.buryCrashed(crash)
		p.log.Error("a process that had been replaced failed", "instance", proc.instance, "error", crash.Report())
	} else {
		proc.bury(proc.hang)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.retired, proc)
	p.publish()
}

// spareOthers waits until all steps but those that were given up have come back,
// or have had their time. It returns the crash if the process ends meanwhile.
func (p *Plugin) spareOthers(proc *process) *CrashError {
	grace := time.NewTimer(p.spec.Timeouts.Retire)
	defer grace.Stop()
	for proc.owesOthers() {
		select {
		case <-proc.relieved:
		case <-proc.failed:
			return proc.examine()
		case <-grace.C:
			p.log.Warn("steps are lost with a process that is replaced: they did not finish in time", "instance", proc.instance,
				"pid", proc.hang.PID, "waited", p.spec.Timeouts.Retire)
			return nil
		case <-p.stops:
			return nil
		}
	}
	return nil
}

// owesOthers reports whether the process has steps that the host has not given
// up on.
func (p *process) owesOthers() bool { return p.small.owesOthers() || p.large.owesOthers() }

// abandon notes those of the steps that the stream has as given up, and
// reports whether there are any.
func (s *stream) abandon(ids []uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for _, id := range ids {
		if _, ok := s.sinks[id]; !ok {
			continue
		}
		if s.given == nil {
			s.given = make(map[uint64]struct{})
		}
		s.given[id] = struct{}{}
		found = true
	}
	return found
}

// owesOthers reports whether a step is owed that has not been given up.
func (s *stream) owesOthers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.sinks {
		if _, given := s.given[id]; !given {
			return true
		}
	}
	return false
}
