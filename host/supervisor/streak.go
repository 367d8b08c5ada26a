package supervisor

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/stephost/stephost/host/processor"
)

// shortestStreak is how many messages must have crashed the plugin at least for
// that to be its own fault, however few crashes trip it.
const shortestStreak = 2

// streak are the messages that have crashed the plugin, each while it ran alone,
// since any of its steps had an outcome. A message that kills is one among others
// that do not; where there are no others, the plugin is at fault. It is safe for
// concurrent use.
type streak struct {
	outcomes atomic.Uint64

	mu       sync.Mutex
	seen     uint64 // outcomes when the latest of the messages crashed it
	messages map[string]struct{}
}

// crashed notes a message and reports whether there are as many as the limit.
func (s *streak) crashed(message string, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit = max(limit, shortestStreak)
	if outcomes := s.outcomes.Load(); outcomes != s.seen || s.messages == nil {
		s.seen, s.messages = outcomes, make(map[string]struct{})
	}
	if len(s.messages) < limit {
		s.messages[message] = struct{}{}
	}
	return len(s.messages) == limit
}

// forget begins a new streak.
func (s *streak) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = nil
}

// messageAlone names the message whose step is all that a process has lost, if
// it had the process for itself; else it is empty.
func messageAlone(left []stranded) string {
	if lostOf(left) != 1 {
		return ""
	}
	var sinks []processor.Sink
	for _, steps := range left {
		for sink := range steps.lost {
			sinks = append(sinks, sink)
		}
	}
	if g, apart := sinks[0].(*group); apart {
		return g.message
	}
	return ""
}

// lostOf is how many steps had reached the process.
func lostOf(left []stranded) (lost int) {
	for _, steps := range left {
		lost += steps.count
	}
	return lost
}

// blame trips the plugin over a crash that is its own fault.
func (p *Plugin) blame(crash *CrashError) {
	if !crash.PluginAtFault {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.breaker.trip(p.deps.Clock.Now(), fmt.Sprintf(
		"%d different messages in a row have crashed it, each while it ran alone", max(p.spec.Restart.MaxCrashes, shortestStreak)))
	p.publish()
}

// unprobed tells whether the plugin has tripped and all instances run, so that
// none of them probes: a start would prove nothing. p.mu is held.
func (p *Plugin) unprobed() bool {
	return p.breaker.open() && p.count(StateReady) == len(p.instances)
}

// halfOpen lets steps through again when it is time for that: they are the
// probe.
func (p *Plugin) halfOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.deps.Clock.Now(); p.unprobed() && !now.Before(p.breaker.openUntil) {
		p.breaker.recovered(now)
		p.publish()
	}
}
