package supervisor

import (
	"math/rand/v2"
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

// breaker counts crashes in a sliding window. It is not safe for concurrent
// use.
type breaker struct {
	policy  Restart
	crashes []time.Time
	// openUntil is when a probe may start; zero: closed.
	openUntil time.Time
	// probation ends at this time; until then one crash trips again.
	probation time.Time
}

// crash counts one and reports whether it trips the breaker.
func (b *breaker) crash(now time.Time) bool {
	recent := b.crashes[:0]
	for _, t := range b.crashes {
		if now.Sub(t) < b.policy.Window {
			recent = append(recent, t)
		}
	}
	b.crashes = append(recent, now)
	if len(b.crashes) < b.policy.MaxCrashes && !now.Before(b.probation) {
		return false
	}
	b.openUntil = now.Add(b.policy.Window)
	return true
}

// open reports whether the plugin is tripped.
func (b *breaker) open() bool { return !b.openUntil.IsZero() }

// reset closes the breaker and forgets everything.
func (b *breaker) reset() { *b = breaker{policy: b.policy} }

// recovered closes the breaker after a probe has become ready.
func (b *breaker) recovered(now time.Time) {
	if b.open() {
		b.openUntil = time.Time{}
		b.crashes = b.crashes[:0]
		b.probation = now.Add(b.policy.Window)
	}
}
