package supervisor

import (
	"cmp"
	"slices"
	"time"
)

// Status is what a plugin is doing.
type Status struct {
	Name string
	// Version is what the plugin calls itself; empty until it has been ready.
	Version string
	State   State
	// Reason says why it is in that state; of a pool that is ready also how
	// many instances are and what is wrong with the others.
	Reason string
	// Since is when it came into that state.
	Since time.Time
	// NextAttempt is when the next start is due; zero where none is.
	NextAttempt time.Time
	// Restarts, Crashes and FailedStarts count since Start, all instances
	// together; Hangs counts processes that were replaced because a handler
	// ignored its cancellation.
	Restarts, Crashes, FailedStarts, Hangs uint64
	// TimeToReady is how long the latest start took that succeeded; 0 until
	// one has.
	TimeToReady time.Duration
	Breaker     BreakerStatus
	// Pool is how many instances there are to be.
	Pool      int
	Instances []InstanceStatus
	// Replaced are the processes with a handler that hangs which have not ended
	// yet.
	Replaced []ReplacedStatus
	// StrayResults counts results for steps that were not in flight,
	// DroppedLogLines what was too much for the host's log.
	StrayResults    uint64
	DroppedLogLines uint64
}

// Ready is how many instances are ready; the probation is none of them.
func (s Status) Ready() int {
	n := 0
	for _, i := range s.Instances {
		if i.State == StateReady && !i.Probation {
			n++
		}
	}
	return n
}

// BreakerStatus is how far a plugin is from tripping.
type BreakerStatus struct {
	// Crashes are the crashes, hangs and failed starts within the last Window.
	// MaxCrashes of them trip the plugin.
	Crashes    int
	MaxCrashes int
	Window     time.Duration
	// Open means that the plugin has tripped and has not been seen to work
	// since.
	Open bool
}

// InstanceStatus is what one instance is doing.
type InstanceStatus struct {
	Instance int
	// Probation marks the place where suspects of a crash run apart. It is there
	// once it has been needed; its number is that after the last instance's.
	Probation bool
	// PID is 0 where there is no process or it is still starting.
	PID   int
	State State
	// Reason says why it is in that state.
	Reason   string
	Since    time.Time
	InFlight int
	// Restarts counts attempts to start after the first.
	Restarts int
	// LastError is why its last process ended or could not start; empty once
	// another is ready.
	LastError string
	// NextAttempt is set while backing off.
	NextAttempt time.Time
}

// ReplacedStatus is a process that takes no more steps because a handler hangs
// in it; its other steps may finish.
type ReplacedStatus struct {
	Instance int
	PID      int
	// InFlight counts the step that hangs, too.
	InFlight int
	// Reason names the handler.
	Reason string
}

// Status tells what the plugin is doing.
func (p *Plugin) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{
		Name: p.spec.Name, Version: p.described.GetVersion(),
		State: p.state, Reason: p.reason, Since: p.since,
		Crashes: p.crashes, FailedStarts: p.failedStarts, Hangs: p.hangs, TimeToReady: p.timeToReady,
		Breaker: p.breaker.status(p.deps.Clock.Now()), Pool: len(p.instances),
		StrayResults: p.counters.stray.Load(), DroppedLogLines: p.counters.flood.Dropped(),
	}
	for _, i := range p.instances {
		status := i.status()
		s.Instances = append(s.Instances, status)
		s.Restarts += uint64(status.Restarts)
		if next := status.NextAttempt; !next.IsZero() && (s.NextAttempt.IsZero() || next.Before(s.NextAttempt)) {
			s.NextAttempt = next
		}
	}
	if p.unprobed() {
		s.NextAttempt = p.breaker.openUntil
	}
	if b, used := p.probation.status(); used {
		s.Instances = append(s.Instances, b)
	}
	for proc := range p.retired {
		s.Replaced = append(s.Replaced, ReplacedStatus{
			Instance: proc.instance, PID: proc.hang.PID,
			InFlight: int(proc.inFlight.Load()), Reason: inShort(proc.hang),
		})
	}
	slices.SortFunc(s.Replaced, func(a, b ReplacedStatus) int { return cmp.Compare(a.PID, b.PID) })
	return s
}
