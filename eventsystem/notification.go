package eventsystem

import (
	"sync"
	"sync/atomic"
	"time"
)

// Notification is what a system tells its subscribers: Started, Stopped,
// EventProcessed, EventFailed, HealthCheckPassed, HealthCheckFailed or
// ModeChanged.
type Notification interface{ notification() }

// Started says that the system has started.
type Started struct{ Mode Mode }

// Stopped says that the system has stopped.
type Stopped struct{}

// EventProcessed says that an event was acted on.
type EventProcessed struct{ Latency time.Duration }

// EventFailed says that an event could not be acted on, or not in time.
type EventFailed struct{ Err error }

// HealthCheckPassed says that a periodic check found the system Healthy.
type HealthCheckPassed struct{ Health Health }

// HealthCheckFailed says that a periodic check found anything less.
type HealthCheckFailed struct{ Health Health }

// ModeChanged says that another mode is in force.
type ModeChanged struct{ From, To Mode }

func (Started) notification()           {}
func (Stopped) notification()           {}
func (EventProcessed) notification()    {}
func (EventFailed) notification()       {}
func (HealthCheckPassed) notification() {}
func (HealthCheckFailed) notification() {}
func (ModeChanged) notification()       {}

// Broadcaster sends notifications to subscribers and waits for none of them.
// The zero value is ready, and it is safe for concurrent use.
type Broadcaster struct {
	mu          sync.Mutex
	subscribers map[*subscriber]struct{}
	count       atomic.Int64
	lost        atomic.Uint64
}

type subscriber struct{ ch chan Notification }

// Subscribe returns a channel with room for buffer notifications, at least
// one, and a function that ends the subscription and closes the channel. The
// function may be called more than once.
func (b *Broadcaster) Subscribe(buffer int) (<-chan Notification, func()) {
	s := &subscriber{ch: make(chan Notification, max(buffer, 1))}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subscribers == nil {
		b.subscribers = make(map[*subscriber]struct{})
	}
	b.subscribers[s] = struct{}{}
	b.count.Add(1)
	return s.ch, func() { b.unsubscribe(s) }
}

func (b *Broadcaster) unsubscribe(s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.subscribers[s]; ok {
		delete(b.subscribers, s)
		b.count.Add(-1)
		close(s.ch)
	}
}

// Publish offers a notification to every subscriber.
func (b *Broadcaster) Publish(n Notification) {
	if b.count.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subscribers {
		select {
		case s.ch <- n:
		default:
			b.lost.Add(1)
		}
	}
}

// Lost is how many notifications subscribers had no room for.
func (b *Broadcaster) Lost() uint64 { return b.lost.Load() }
