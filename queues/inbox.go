package queues

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// ErrStopped is what Next returns once a source has been stopped and
// everything that it had found has been taken.
var ErrStopped = errors.New("source is stopped")

// inbox holds what a source has found until the event system takes it. Adding
// never blocks and the size is bounded, because what says the same is merged:
// events that are ready per queue and source, delayed events per queue once
// the inbox is full, health updates into one, configuration updates per queue.
// So it holds at most limit entries and a handful for each queue.
type inbox struct {
	limit int
	// signal has one place; there is one taker.
	signal chan struct{}

	mu        sync.Mutex
	open      bool
	events    []*Event
	ready     map[readyKey]*Event
	delayed   map[string]*Event
	health    *HealthUpdate
	config    []ConfigUpdate
	coalesced uint64
}

type readyKey struct {
	queue  string
	source Source
}

func newInbox(limit int) *inbox {
	return &inbox{
		limit:   limit,
		signal:  make(chan struct{}, 1),
		ready:   make(map[readyKey]*Event),
		delayed: make(map[string]*Event),
	}
}

func (b *inbox) setOpen(open bool) {
	b.mu.Lock()
	b.open = open
	b.mu.Unlock()
	b.poke()
}

func (b *inbox) poke() {
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

// add keeps an event, on its own or as part of one that waits already.
func (b *inbox) add(event Event) {
	event.Count = max(event.Count, 1)
	b.mu.Lock()
	if event.Delay > 0 {
		b.addDelayed(&event)
	} else {
		b.addReady(&event)
	}
	b.mu.Unlock()
	b.poke()
}

// addReady merges events that say the same of one queue. The source is part
// of the key because a sweep asks for more than a notification does.
func (b *inbox) addReady(event *Event) {
	key := readyKey{event.Queue, event.Source}
	if waiting, ok := b.ready[key]; ok {
		b.merge(waiting, event)
		return
	}
	b.ready[key] = event
	b.events = append(b.events, event)
}

// addDelayed keeps each due time for as long as there is room, and then the
// earliest of a queue: whoever looks then learns of the next.
func (b *inbox) addDelayed(event *Event) {
	if waiting, ok := b.delayed[event.Queue]; ok && len(b.events) >= b.limit {
		if event.due().Before(waiting.due()) {
			waiting.Delay = event.due().Sub(waiting.ReceivedAt)
		}
		b.merge(waiting, event)
		return
	}
	b.delayed[event.Queue] = event
	b.events = append(b.events, event)
}

func (b *inbox) merge(waiting, event *Event) {
	waiting.Count += event.Count
	waiting.MessageID = 0
	b.coalesced++
}

func (e *Event) due() time.Time { return e.ReceivedAt.Add(e.Delay) }

func (b *inbox) setHealth(update HealthUpdate) {
	b.mu.Lock()
	b.health = &update
	b.mu.Unlock()
	b.poke()
}

func (b *inbox) addConfig(update ConfigUpdate) {
	b.mu.Lock()
	defer b.poke()
	defer b.mu.Unlock()
	for i := range b.config {
		if b.config[i].Queue == update.Queue {
			b.config[i] = update
			return
		}
	}
	b.config = append(b.config, update)
}

// forget drops what waits for a queue that is no longer of interest.
func (b *inbox) forget(queue string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = slices.DeleteFunc(b.events, func(e *Event) bool { return e.Queue == queue })
	b.config = slices.DeleteFunc(b.config, func(u ConfigUpdate) bool { return u.Queue == queue })
	maps.DeleteFunc(b.ready, func(key readyKey, _ *Event) bool { return key.queue == queue })
	delete(b.delayed, queue)
}

// next waits for a notification. It has a single caller.
func (b *inbox) next(ctx context.Context) (Notification, error) {
	for {
		n, open := b.take()
		if n != nil {
			return n, nil
		}
		if !open {
			return nil, ErrStopped
		}
		select {
		case <-b.signal:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take returns the next notification, if there is one. Events come first:
// work must not wait for news.
func (b *inbox) take() (n Notification, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(b.events) > 0:
		return b.takeEvent(), b.open
	case b.health != nil:
		update := *b.health
		b.health = nil
		return update, b.open
	case len(b.config) > 0:
		update := b.config[0]
		b.config = b.config[1:]
		return update, b.open
	}
	return nil, b.open
}

func (b *inbox) takeEvent() Event {
	event := b.events[0]
	b.events[0] = nil
	b.events = b.events[1:]
	if key := (readyKey{event.Queue, event.Source}); b.ready[key] == event {
		delete(b.ready, key)
	}
	if b.delayed[event.Queue] == event {
		delete(b.delayed, event.Queue)
	}
	if event.Delay > 0 {
		event.Delay = max(time.Until(event.due()), 0)
	}
	return *event
}

// counts returns how many events wait and how many were merged so far.
func (b *inbox) counts() (pending int, coalesced uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.events), b.coalesced
}
