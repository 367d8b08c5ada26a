package processor

import (
	"math"
	"math/rand/v2"
	"time"
)

// RetryPolicy says when a failed step runs again and when it has failed for
// good.
type RetryPolicy struct {
	// MaxAttempts is how many failures end a message, the first attempt
	// included.
	MaxAttempts int
	// MaxDeliveries is how many deliveries without any outcome end it.
	MaxDeliveries int
	// MaxCrashes is how many crashes of the plugin while the message ran alone
	// end it.
	MaxCrashes int
	// Delay is the delay before the attempt that follows the given number of
	// failures, without jitter.
	Delay Backoff
	// Jitter, from 0 to 1, is the share of the delay that is random, both ways.
	Jitter float64
}

// Backoff is a curve of delays over the number of failures, from 1.
type Backoff func(failures int) time.Duration

// Exponential doubles from initial up to limit.
func Exponential(initial, limit time.Duration) Backoff {
	return func(failures int) time.Duration {
		delay := float64(initial) * math.Pow(2, float64(failures-1))
		return time.Duration(min(delay, float64(limit)))
	}
}

// Linear grows by initial with each failure, up to limit.
func Linear(initial, limit time.Duration) Backoff {
	return func(failures int) time.Duration {
		return time.Duration(min(float64(initial)*float64(failures), float64(limit)))
	}
}

// Fixed is always the same.
func Fixed(delay time.Duration) Backoff {
	return func(int) time.Duration { return delay }
}

// next is the delay after that many failures, with jitter.
func (p RetryPolicy) next(failures int) time.Duration {
	delay := p.Delay(failures)
	if p.Jitter > 0 {
		spread := (rand.Float64()*2 - 1) * p.Jitter
		delay += time.Duration(float64(delay) * spread)
	}
	return max(delay, 0)
}
