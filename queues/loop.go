package queues

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// loop is the life of a source: one goroutine that can be started, waited for
// and stopped, and started again.
type loop struct {
	Pulse

	mu      sync.Mutex
	cancel  context.CancelFunc
	done    chan struct{}
	proven  bool
	changed chan struct{} // closed when proven changes
}

// start runs the function in a goroutine. It reports false when one runs
// already.
func (l *loop) start(run func(ctx context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done != nil {
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	l.cancel, l.done = cancel, done
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	go func() {
		defer close(done)
		defer l.Beat(0)
		run(ctx)
	}()
	return true
}

// stop ends the goroutine and waits for it until ctx ends.
func (l *loop) stop(ctx context.Context) error {
	l.mu.Lock()
	cancel, done := l.cancel, l.done
	l.mu.Unlock()
	if done == nil {
		return nil
	}
	cancel()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("wait for the loop to end: %w", ctx.Err())
	}
	l.setProven(false)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == done {
		l.cancel, l.done = nil, nil
	}
	return nil
}

func (l *loop) setProven(proven bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.proven != proven {
		l.proven = proven
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

// waitProven waits until the source works. Why it does not is asked when ctx
// ends first.
func (l *loop) waitProven(ctx context.Context, why func() string) error {
	for {
		l.mu.Lock()
		proven, changed, done := l.proven, l.changed, l.done
		l.mu.Unlock()
		if proven {
			return nil
		}
		if done == nil {
			return ErrStopped
		}
		select {
		case <-changed:
		case <-done:
			return ErrStopped
		case <-ctx.Done():
			if reason := why(); reason != "" {
				return fmt.Errorf("%w: %s", ctx.Err(), reason)
			}
			return ctx.Err()
		}
	}
}

// isRunning reports whether the goroutine has been started and not yet joined.
func (l *loop) isRunning() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done != nil
}

// longestWait bounds how long a loop waits before it shows that it lives.
const longestWait = 10 * time.Second

// sleep waits for d, or less when the channel says so or ctx ends.
func (l *loop) sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	until := time.Now().Add(d)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		left := time.Until(until)
		if left <= 0 {
			return
		}
		step := min(left, longestWait)
		l.Beat(step)
		timer.Reset(step)
		select {
		case <-timer.C:
		case <-wake:
			return
		case <-ctx.Done():
			return
		}
	}
}

// jitter spreads d by up to a tenth both ways, so that hosts that started
// together do not act together.
func jitter(d time.Duration) time.Duration {
	if d < 10 {
		return d
	}
	return d - d/10 + rand.N(d/5)
}

// retreat is a delay that doubles with each use, from first to limit.
type retreat struct{ first, limit, next time.Duration }

func (r *retreat) delay() time.Duration {
	d := max(r.next, r.first)
	r.next = min(2*d, r.limit)
	return jitter(d)
}

func (r *retreat) reset() { r.next = 0 }

// rareLog writes a warning at most once a minute, with how often it was asked
// to since the last one.
type rareLog struct {
	log   hclog.Logger
	what  string
	last  time.Time
	count int
}

func (r *rareLog) warn(args ...any) {
	r.count++
	if !r.last.IsZero() && time.Since(r.last) < time.Minute {
		return
	}
	r.log.Warn(r.what, append([]any{"count", r.count}, args...)...)
	r.last, r.count = time.Now(), 0
}
