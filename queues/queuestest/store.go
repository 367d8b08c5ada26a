// Package queuestest has an in-memory store of messages for tests of what
// listens to and polls queues. It announces, probes and hides messages as a
// database does, and fails in the ways in which a database's connection does,
// when told to. All waiting is on channels, contexts and the time package, so
// it works within testing/synctest.
package queuestest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/stephost/stephost/queues"
)

// Faults that the store returns.
var (
	ErrDown   = errors.New("store is down")
	ErrKilled = errors.New("connection was killed")
)

// Store is a queues.Subscriber and a queues.Prober. It is safe for concurrent
// use.
type Store struct {
	mu            sync.Mutex
	queues        map[string][]time.Time // when each message becomes visible
	faults        map[string]error
	subscriptions map[*subscription]struct{}
	down          bool
	swallowing    bool
	probes        int
}

// New returns a store with these queues.
func New(names ...string) *Store {
	s := &Store{
		queues:        make(map[string][]time.Time),
		faults:        make(map[string]error),
		subscriptions: make(map[*subscription]struct{}),
	}
	for _, name := range names {
		s.queues[name] = nil
	}
	return s
}

// Create makes a queue and announces it.
func (s *Store) Create(queue string) {
	s.mu.Lock()
	s.queues[queue] = nil
	s.mu.Unlock()
	s.Announce(queues.Event{Kind: queues.EventQueueCreated, Queue: queue})
}

// Drop removes a queue.
func (s *Store) Drop(queue string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.queues, queue)
}

// Send adds a message that becomes visible after the delay, and announces it
// without the delay, as pgmq's own trigger does.
func (s *Store) Send(queue string, delay time.Duration) {
	s.SendSilently(queue, delay)
	s.Announce(queues.Event{Kind: queues.EventStepReady, Queue: queue})
}

// SendSilently adds a message whose notification is lost.
func (s *Store) SendSilently(queue string, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues[queue] = append(s.queues[queue], time.Now().Add(delay))
}

// Announce delivers an event to every connection that listens for its queue.
// What is about none of the store's queues reaches all of them.
func (s *Store) Announce(event queues.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down || s.swallowing {
		return
	}
	event.ReceivedAt = time.Now()
	_, known := s.queues[event.Queue]
	for sub := range s.subscriptions {
		if !known || event.Kind != queues.EventStepReady || slices.Contains(sub.queues, event.Queue) {
			sub.events <- event
		}
	}
}

// Take removes the visible messages of a queue and returns how many there were.
func (s *Store) Take(queue string) (taken int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	rest := s.queues[queue][:0]
	for _, at := range s.queues[queue] {
		if at.After(now) {
			rest = append(rest, at)
		} else {
			taken++
		}
	}
	if _, ok := s.queues[queue]; ok {
		s.queues[queue] = rest
	}
	return taken
}

// SetDown makes the store refuse everything, and kills its connections.
func (s *Store) SetDown(down bool) {
	s.mu.Lock()
	s.down = down
	s.mu.Unlock()
	if down {
		s.Kill()
	}
}

// SetSwallowing makes connections look alive but deliver nothing, as a
// transaction pooler does.
func (s *Store) SetSwallowing(swallowing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swallowing = swallowing
}

// SetFault gives one queue an error of its own; nil removes it.
func (s *Store) SetFault(queue string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[queue] = err
}

// Kill ends every connection.
func (s *Store) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.subscriptions {
		close(sub.killed)
		delete(s.subscriptions, sub)
	}
}

// Connections is how many connections are open.
func (s *Store) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.subscriptions)
}

// Probes is how many probes were answered.
func (s *Store) Probes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probes
}

// Probe tells which queues have visible messages.
func (s *Store) Probe(_ context.Context, names []string) ([]queues.QueueState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, ErrDown
	}
	s.probes++
	states := make([]queues.QueueState, len(names))
	for i, name := range names {
		states[i] = s.state(name)
	}
	return states, nil
}

func (s *Store) state(name string) queues.QueueState {
	messages, exists := s.queues[name]
	if err := s.faults[name]; err != nil {
		return queues.QueueState{Queue: name, NextDue: -1, Err: err}
	}
	state := queues.QueueState{Queue: name, Missing: !exists, NextDue: -1}
	for _, at := range messages {
		if wait := time.Since(at); wait >= 0 {
			state.Visible = true
			state.OldestWait = max(state.OldestWait, wait)
		} else if state.NextDue < 0 || -wait < state.NextDue {
			state.NextDue = -wait
		}
	}
	return state
}

// Subscribe opens a connection. Of the store's queues it hears of these.
func (s *Store) Subscribe(_ context.Context, names []string) (queues.Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, ErrDown
	}
	sub := &subscription{
		store: s, queues: names, killed: make(chan struct{}),
		// As large as anything that a test sends before it lets others run.
		events: make(chan queues.Event, 100_000),
	}
	s.subscriptions[sub] = struct{}{}
	return sub, nil
}

type subscription struct {
	store  *Store
	queues []string // the store's mutex guards it
	events chan queues.Event
	killed chan struct{}
}

func (c *subscription) Receive(ctx context.Context) (queues.Event, error) {
	select {
	case event := <-c.events:
		return event, nil
	case <-c.killed:
		return queues.Event{}, ErrKilled
	case <-ctx.Done():
		return queues.Event{}, ctx.Err()
	}
}

func (c *subscription) Verify(ctx context.Context) error {
	c.store.mu.Lock()
	swallowing := c.store.swallowing
	c.store.mu.Unlock()
	if swallowing {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-c.killed:
		return ErrKilled
	default:
		return nil
	}
}

func (c *subscription) Listen(_ context.Context, names []string) error {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	select {
	case <-c.killed:
		return ErrKilled
	default:
		c.queues = names
		return nil
	}
}

func (c *subscription) Close() error {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	delete(c.store.subscriptions, c)
	return nil
}
