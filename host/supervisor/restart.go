package supervisor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// healthyAfter is how long a process must have been ready for its instance to
// start over with the back-off.
const healthyAfter = time.Minute

// backoff is the delay before the nth attempt after a failure, from 0:
// doubling, and up to a quarter of it random, so that instances spread.
func (r Restart) backoff(n int) time.Duration {
	d := r.BackoffInitial
	for ; n > 0 && d < r.BackoffMax; n-- {
		d *= 2
	}
	d = min(d, r.BackoffMax)
	return d - time.Duration(rand.Float64()*float64(d)/4)
}

// strike is a crash within the breaker's window.
type strike struct {
	at time.Time
	// message is the one whose handler hung, or "".
	message string
}

// breaker counts crashes in a sliding window. It is not safe for concurrent
// use.
type breaker struct {
	policy  Restart
	crashes []strike
	// openUntil is when a probe may start; zero: closed. why says what has
	// opened it.
	openUntil time.Time
	why       string
	// probation ends at this time; until then one crash trips again.
	probation time.Time
}

// crash counts one and reports whether it trips the breaker. A failed probe
// always does. While the breaker is open nothing else does: the probe stays
// where it is.
func (b *breaker) crash(now time.Time, probe bool) bool {
	b.forget(now)
	b.crashes = append(b.crashes, strike{at: now})
	return b.judge(now, probe)
}

// hang counts a handler that hung as a crash, once for each message within the
// window: one bad message, tried again and again, must not pause the others.
func (b *breaker) hang(now time.Time, message string) bool {
	b.forget(now)
	if message != "" && slices.ContainsFunc(b.crashes, func(s strike) bool { return s.message == message }) {
		return false
	}
	b.crashes = append(b.crashes, strike{now, message})
	return b.judge(now, false)
}

func (b *breaker) judge(now time.Time, probe bool) bool {
	switch {
	case probe:
		b.why = "the probe failed"
	case b.open():
		return false
	case len(b.crashes) >= b.policy.MaxCrashes:
		b.why = fmt.Sprintf("%d crashes within %v", len(b.crashes), b.policy.Window)
		if len(b.crashes) == 1 {
			b.why = fmt.Sprintf("a crash within %v", b.policy.Window)
		}
	case now.Before(b.probation):
		b.why = fmt.Sprintf("a crash within %v after the probe", b.policy.Window)
	default:
		return false
	}
	b.openUntil = now.Add(b.policy.Window)
	return true
}

// trip opens the breaker for a reason of its own.
func (b *breaker) trip(now time.Time, why string) {
	if !b.open() {
		b.why, b.openUntil = why, now.Add(b.policy.Window)
	}
}

// forget lets crashes go that have left the window.
func (b *breaker) forget(now time.Time) {
	b.crashes = slices.DeleteFunc(b.crashes, func(s strike) bool { return now.Sub(s.at) >= b.policy.Window })
}

// open reports whether the plugin is tripped.
func (b *breaker) open() bool { return !b.openUntil.IsZero() }

// reset closes the breaker and forgets everything.
func (b *breaker) reset() { *b = breaker{policy: b.policy} }

// recovered closes the breaker after a probe has become ready.
func (b *breaker) recovered(now time.Time) {
	if b.open() {
		*b = breaker{policy: b.policy, probation: now.Add(b.policy.Window)}
	}
}

func (b *breaker) status(now time.Time) BreakerStatus {
	b.forget(now)
	return BreakerStatus{
		Crashes: len(b.crashes), MaxCrashes: b.policy.MaxCrashes,
		Window: b.policy.Window, Open: b.open(),
	}
}
