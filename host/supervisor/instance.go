package supervisor

import (
	"errors"
	"fmt"
	"time"
)

// instance is one place in a plugin's pool and holds one process at a time.
// Its fields are guarded by the plugin's mutex; its loop and Reset write them.
type instance struct {
	plugin *Plugin
	number int

	state  State
	reason string
	since  time.Time
	proc   *process
	// attempts counts starts, failures those in a row since the instance was
	// last healthy.
	attempts int
	failures int
	// lastErr is what the next start is after.
	lastErr error
	next    time.Time
	// readySince is when the process became ready.
	readySince time.Time
	debut      *debut
}

// firstStart is why an instance starts that has not failed before.
const firstStart = "first start"

// run starts a process again and again, until starting has ended.
func (i *instance) run() {
	p := i.plugin
	defer i.debut.end(ErrStopped)
	defer i.stopped()
	for i.turn() {
		began := time.Now()
		proc, err := startProcess(p.starts, &p.spec, &p.deps, i.number, p.log, &p.counters)
		if err != nil {
			if p.starts.Err() != nil {
				return
			}
			i.report(err, i.failedStart(err))
			continue
		}
		i.ready(proc, time.Since(began))
		select {
		case <-proc.failed:
			// Nothing is dispatched to it any more before the suspects are named.
			i.withdraw(proc)
			found := proc.examine()
			planned := i.crashed(found)
			crash := proc.buryCrashed(found)
			i.learned(crash)
			p.blame(crash)
			i.report(crash, planned)
		case <-proc.retired:
			i.replace(proc)
		case <-p.stops:
			i.withdraw(proc)
			proc.stop(p.stopping)
			return
		}
	}
}

// turn waits until the instance may start a process. False: never again.
func (i *instance) turn() bool {
	p := i.plugin
	for {
		p.mu.Lock()
		i.proc = nil
		if p.starts.Err() != nil {
			p.mu.Unlock()
			return false
		}
		wait := i.due().Sub(p.deps.Clock.Now())
		changed := p.changed
		others := p.breaker.open() && p.prober != nil && p.prober != i
		if wait <= 0 && !others {
			i.begin()
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

// due is when the instance may start; the plugin's mutex is held.
func (i *instance) due() time.Time {
	if i.plugin.breaker.open() {
		return i.plugin.breaker.openUntil
	}
	return i.next
}

// begin starts an attempt; the plugin's mutex is held.
func (i *instance) begin() {
	i.attempts++
	i.next = time.Time{}
	reason := i.againReason()
	if p := i.plugin; p.breaker.open() {
		p.prober = i
		reason = fmt.Sprintf("instance %d probes whether it works again after: %s", i.number, p.breaker.why)
	}
	i.become(StateStarting, reason)
}

// againReason is why another process is started.
func (i *instance) againReason() string {
	if i.lastErr == nil {
		return firstStart
	}
	return "starts again after " + inShort(i.lastErr)
}

// ready offers the process for dispatch.
func (i *instance) ready(proc *process, took time.Duration) {
	p := i.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	reason := fmt.Sprintf("started in %v", took.Round(time.Millisecond))
	if i.lastErr != nil {
		reason += " after " + inShort(i.lastErr)
	}
	if p.prober == i {
		reason = fmt.Sprintf("the probe succeeded: started in %v", took.Round(time.Millisecond))
	}
	if p.spec.Attach != nil {
		reason = fmt.Sprintf("attached to process %d; health deadlines and step timeouts are suspended", p.spec.Attach.PID)
	}
	i.proc = proc
	i.lastErr = nil
	p.timeToReady = took
	if p.prober == i || !p.breaker.open() {
		p.breaker.recovered(p.deps.Clock.Now())
		p.prober = nil
	}
	if p.draining {
		// It became ready while the drain began, which has not seen it.
		proc.halfClose()
	}
	i.readySince = p.deps.Clock.Now()
	p.joined(proc)
	i.become(StateReady, reason)
	i.debut.end(nil)
}

// withdraw takes the process out of dispatch. Its instance stays in its state
// until it is known why.
func (i *instance) withdraw(proc *process) {
	p := i.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left(proc)
	p.publish()
}

// plan is what happens after a failure.
type plan struct {
	tripped bool
	in      time.Duration
}

// crashed plans what follows the end of a ready process.
func (i *instance) crashed(err error) plan {
	p := i.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	p.crashes++
	if p.deps.Clock.Now().Sub(i.readySince) >= healthyAfter {
		i.failures = 0
	}
	return i.backOff(err)
}

// learned has the complete report of a crash that has been planned for.
func (i *instance) learned(crash *CrashError) {
	i.plugin.mu.Lock()
	defer i.plugin.mu.Unlock()
	i.lastErr = crash
	i.become(StateBackingOff, inShort(crash))
}

// failedStart plans what follows a start that did not lead to a ready process.
func (i *instance) failedStart(err error) plan {
	p := i.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failedStarts++
	return i.backOff(err)
}

// backOff plans the next attempt; the plugin's mutex is held.
func (i *instance) backOff(err error) plan {
	p := i.plugin
	now := p.deps.Clock.Now()
	i.lastErr = err
	tripped := false
	if p.lent.of(i.proc) {
		// Suspects of a crash had it for themselves.
		i.next = now.Add(probationPause)
	} else {
		i.next = now.Add(p.spec.Restart.backoff(i.failures))
		i.failures++
		tripped = p.breaker.crash(now, p.prober == i)
	}
	if p.prober == i {
		p.prober = nil
	}
	if tripped {
		i.next = p.breaker.openUntil
	}
	i.become(StateBackingOff, inShort(err))
	i.debut.end(err)
	return plan{tripped: tripped, in: i.next.Sub(now)}
}

// report logs a failure.
func (i *instance) report(err error, next plan) {
	text := err.Error()
	var crash *CrashError
	if errors.As(err, &crash) {
		text = crash.Report()
	}
	i.plugin.log.Error("plugin failed", "generation", i.plugin.spec.Generation, "instance", i.number, "tripped", next.tripped, "next_attempt_in", next.in, "error", text)
}

// stopped is the end of the instance.
func (i *instance) stopped() {
	p := i.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	reason := "it has been stopped"
	if p.spec.Hold != "" {
		reason = p.spec.Hold
	}
	if i.lastErr != nil {
		reason += " after " + inShort(i.lastErr)
	}
	i.proc = nil
	i.next = time.Time{}
	if p.prober == i {
		p.prober = nil
	}
	i.become(StateStopped, reason)
}

// become changes the state; the plugin's mutex is held.
func (i *instance) become(s State, reason string) {
	if i.state != s {
		i.state, i.since = s, i.plugin.deps.Clock.Now()
	}
	i.reason = reason
	i.plugin.publish()
}

// status tells what the instance is doing; the plugin's mutex is held.
func (i *instance) status() InstanceStatus {
	s := InstanceStatus{
		Instance: i.number, State: i.state, Reason: i.reason, Since: i.since,
		Restarts: max(i.attempts-1, 0),
	}
	// While one probes, the others wait for what comes of it.
	if i.state == StateBackingOff && i.plugin.prober == nil {
		s.NextAttempt = i.due()
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
