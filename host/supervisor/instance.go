package supervisor

import (
	"errors"
	"time"
)

// instance is one place in a plugin's pool and holds one process at a time.
// Its fields are guarded by the plugin's mutex; its loop and Reset write them.
type instance struct {
	plugin *Plugin
	number int

	state State
	since time.Time
	proc  *process
	// attempts counts starts, failures those in a row since the instance was
	// last healthy.
	attempts int
	failures int
	lastErr  error
	next     time.Time
	debut    *debut
}

// run starts a process again and again, until starting has ended.
func (i *instance) run() {
	p := i.plugin
	defer i.debut.end(ErrStopped)
	defer i.set(StateStopped)
	for i.turn() {
		proc, err := startProcess(p.starts, &p.spec, &p.deps, i.number, p.log, &p.counters)
		if err != nil {
			if p.starts.Err() != nil {
				return
			}
			i.failed(err, false)
			continue
		}
		i.ready(proc)
		began := p.deps.Clock.Now()
		select {
		case <-proc.failed:
			// Nothing is dispatched to it any more before the suspects are named.
			i.gone(proc)
			err = proc.crashed()
		case <-p.stops:
			i.gone(proc)
			proc.stop(p.stopping)
			return
		}
		i.failed(err, p.deps.Clock.Now().Sub(began) >= healthyAfter)
	}
}

// turn waits until the instance may start a process. False: never again.
func (i *instance) turn() bool {
	p := i.plugin
	for {
		p.mu.Lock()
		if p.starts.Err() != nil {
			p.mu.Unlock()
			return false
		}
		now, until := p.deps.Clock.Now(), i.next
		changed := p.changed
		if p.breaker.open() {
			until = p.breaker.openUntil
		}
		wait := until.Sub(now)
		others := p.breaker.open() && p.prober != nil && p.prober != i
		if wait <= 0 && !others {
			if p.breaker.open() {
				p.prober = i
			}
			i.attempts++
			i.next = time.Time{}
			i.become(StateStarting)
			p.mu.Unlock()
			return true
		}
		p.mu.Unlock()

		var due <-chan time.Time
		if wait > 0 {
			due = p.deps.Clock.After(wait)
		}
		select {
		case <-due:
		case <-changed:
		case <-p.starts.Done():
		}
	}
}

// ready offers the process for dispatch.
func (i *instance) ready(proc *process) {
	p := i.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	i.proc = proc
	i.lastErr = nil
	if p.prober == i || !p.breaker.open() {
		p.breaker.recovered(p.deps.Clock.Now())
		p.prober = nil
	}
	if p.draining {
		// It became ready while the drain began, which has not seen it.
		proc.halfClose()
	}
	p.joined(proc)
	i.become(StateReady)
	i.debut.end(nil)
}

// gone withdraws the process from dispatch.
func (i *instance) gone(proc *process) {
	p := i.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left(proc)
	i.become(StateBackingOff)
}

// failed plans the next attempt after a crash or a failed start.
func (i *instance) failed(err error, healthy bool) {
	p := i.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.deps.Clock.Now()
	if healthy {
		i.failures = 0
	}
	delay := p.spec.Restart.backoff(i.failures)
	i.failures++
	i.proc = nil
	i.lastErr = err
	i.next = now.Add(delay)
	if p.prober == i {
		p.prober = nil
	}
	tripped := p.breaker.crash(now)
	if tripped {
		i.next = p.breaker.openUntil
	}
	i.become(StateBackingOff)
	i.debut.end(err)
	text := err.Error()
	var crash *CrashError
	if errors.As(err, &crash) {
		text = crash.Report()
	}
	p.log.Error("plugin failed", "instance", i.number, "tripped", tripped, "next_attempt_in", i.next.Sub(now), "error", text)
}

// set changes the state.
func (i *instance) set(s State) {
	i.plugin.mu.Lock()
	defer i.plugin.mu.Unlock()
	i.proc = nil
	i.become(s)
}

// become changes the state; the plugin's mutex is held.
func (i *instance) become(s State) {
	if i.state != s {
		i.state, i.since = s, i.plugin.deps.Clock.Now()
	}
	i.plugin.publish()
}

// status tells what the instance is doing; the plugin's mutex is held.
func (i *instance) status() InstanceStatus {
	s := InstanceStatus{
		Instance: i.number, State: i.state, Since: i.since,
		Restarts: max(i.attempts-1, 0), NextAttempt: i.next,
	}
	if i.proc != nil {
		s.PID = i.proc.runner.pid()
		s.InFlight = int(i.proc.inFlight.Load())
	}
	if i.lastErr != nil {
		s.LastError = i.lastErr.Error()
	}
	return s
}
