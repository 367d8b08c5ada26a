package supervisor

import (
	"fmt"
	"time"
)

// State is where a plugin or one of its instances is in its life.
type State string

// The states. Only plugins trip and drain.
const (
	StateStopped    State = "stopped"
	StateStarting   State = "starting"
	StateReady      State = "ready"
	StateDraining   State = "draining"
	StateBackingOff State = "backing-off"
	StateTripped    State = "tripped"
)

// publish recomputes the plugin's state after any change, and tells who waits
// for one; p.mu is held.
func (p *Plugin) publish() {
	state, reason := p.overall()
	if state != p.state {
		p.journal.note(transition{from: p.state, to: state, reason: reason})
		p.state, p.since = state, p.deps.Clock.Now()
	}
	p.reason = reason
	next := p.snapshot
	next.Ready, next.Reason = false, fmt.Sprintf("it is %s: %s", state, reason)
	if state == StateReady {
		next.Ready, next.Reason = true, ""
		if len(p.ready) == 0 {
			next.Ready, next.Reason = false, "its process has just ended"
		}
	}
	next.MaxConcurrency = len(p.ready) * int(p.described.GetMaxConcurrency())
	close(p.changed)
	p.changed = make(chan struct{})
	next.Changed = p.changed
	p.snapshot = next
}

// overall is the plugin's state and why it is in it; p.mu is held.
func (p *Plugin) overall() (State, string) {
	ready, starting, down := p.latest(StateReady), p.latest(StateStarting), p.latest(StateBackingOff)
	switch {
	case p.count(StateStopped) == len(p.instances):
		return StateStopped, p.latest(StateStopped).reason
	case p.stopping != nil:
		return StateDraining, "it is being stopped"
	case p.draining:
		return StateDraining, "it finishes its steps and takes no more"
	case p.prober != nil:
		return StateStarting, p.prober.reason
	case p.breaker.open():
		because := p.breaker.why
		if down != nil {
			because += ", the last: " + down.reason
		}
		return StateTripped, fmt.Sprintf("%s; it probes again at %s", because, p.breaker.openUntil.Format(time.TimeOnly))
	case ready != nil && p.lent != nil && len(p.ready) == 0:
		return StateDraining, "suspects of a crash run alone"
	case ready != nil:
		return StateReady, p.readiness(ready)
	case starting != nil:
		return StateStarting, starting.reason
	default:
		return StateBackingOff, down.reason
	}
}

// readiness says how many instances are ready and why the others are not;
// p.mu is held.
func (p *Plugin) readiness(latest *instance) string {
	if len(p.instances) == 1 {
		return latest.reason
	}
	text := fmt.Sprintf("%d/%d instances ready: ", p.count(StateReady), len(p.instances))
	for _, i := range p.instances {
		if i.state != StateReady {
			return text + fmt.Sprintf("instance %d is %s: %s", i.number, i.state, i.reason)
		}
	}
	return text + fmt.Sprintf("instance %d %s", latest.number, latest.reason)
}

// count is how many instances are in a state; p.mu is held.
func (p *Plugin) count(s State) int {
	n := 0
	for _, i := range p.instances {
		if i.state == s {
			n++
		}
	}
	return n
}

// latest is the instance that came into a state last, or nil; p.mu is held.
func (p *Plugin) latest(s State) *instance {
	var found *instance
	for _, i := range p.instances {
		if i.state == s && (found == nil || !i.since.Before(found.since)) {
			found = i
		}
	}
	return found
}
