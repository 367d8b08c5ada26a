package queues

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// ListenerConfig configures a Listener. Zero values mean the defaults.
type ListenerConfig struct {
	// Queues are the queues to listen for at first. They need not exist yet.
	Queues []string
	// ConnectionTimeout bounds connecting with LISTEN, and each verification;
	// default 10 s.
	ConnectionTimeout time.Duration
	// RetryInterval is the first delay after a lost connection; it doubles up
	// to 30 s (or itself, if longer) and is jittered. Default 1 s.
	RetryInterval time.Duration
	// VerifyInterval is how often the connection proves that notifications
	// still come back; default 30 s.
	VerifyInterval time.Duration
	// Buffer is how many events wait before delayed events of a queue are
	// merged too; default 1024.
	Buffer int
}

const longestRetreat = 30 * time.Second

func (c ListenerConfig) withDefaults() ListenerConfig {
	c.ConnectionTimeout = orDefault(c.ConnectionTimeout, 10*time.Second)
	c.RetryInterval = orDefault(c.RetryInterval, time.Second)
	c.VerifyInterval = orDefault(c.VerifyInterval, 30*time.Second)
	c.Buffer = orDefault(c.Buffer, 1024)
	return c
}

func orDefault[T int | time.Duration](value, fallback T) T {
	if value > 0 {
		return value
	}
	return fallback
}

// Listener turns notifications into events: the event path. It holds one
// connection for all queues. Whenever the connection is new it listens, proves
// that a notification comes back, and then emits a sweep of every queue,
// because whatever was sent in between was announced to nobody. When the
// connection is lost or proves dead it starts over, for as long as it runs.
//
// The queues can be changed at any time; the connection stays, and of those that
// are listened for throughout no notification is missed.
//
// The receiving side never waits for the taking side: what is not taken is
// merged per queue. All methods are safe for concurrent use, except that Next
// has one caller at a time.
type Listener struct {
	cfg   ListenerConfig
	sub   Subscriber
	log   hclog.Logger
	inbox *inbox
	loop  loop

	mu    sync.Mutex
	stats ListenerStats
	set   *queueSet
	// interrupt ends the receiving that is under way, so that a changed set is
	// noticed; nil: nothing is being received.
	interrupt context.CancelFunc
}

// NewListener returns a listener that does not run yet.
func NewListener(cfg ListenerConfig, sub Subscriber, log hclog.Logger) *Listener {
	cfg = cfg.withDefaults()
	return &Listener{
		cfg: cfg, sub: sub, log: log,
		set:   newQueueSet(cfg.Queues),
		inbox: newInbox(cfg.Buffer),
	}
}

// Start begins to listen in the background and to keep at it. Starting a
// running listener does nothing; a stopped one can be started again.
func (l *Listener) Start() {
	if !l.loop.start(l.run) {
		return
	}
	l.inbox.setOpen(true)
	l.mu.Lock()
	l.stats.StartedAt = time.Now()
	l.mu.Unlock()
}

// WaitProven waits until the connection is up and verified and the sweep of
// all queues has been emitted. It does not stay so: a lost connection has to
// prove itself again.
func (l *Listener) WaitProven(ctx context.Context) error {
	return l.loop.waitProven(ctx, func() string { return l.Stats().LastError })
}

// Next waits for the next notification. After Stop it returns what is left
// and then ErrStopped.
func (l *Listener) Next(ctx context.Context) (Notification, error) { return l.inbox.next(ctx) }

// Stop ends the connection and joins the goroutine, within ctx.
func (l *Listener) Stop(ctx context.Context) error {
	if err := l.loop.stop(ctx); err != nil {
		return fmt.Errorf("stop listener: %w", err)
	}
	l.inbox.setOpen(false)
	return nil
}

// Pulse is the loop's sign of life.
func (l *Listener) Pulse() *Pulse { return &l.loop.Pulse }

// run holds one session after the other.
func (l *Listener) run(ctx context.Context) {
	retry := retreat{first: l.cfg.RetryInterval, limit: max(l.cfg.RetryInterval, longestRetreat)}
	warning := rareLog{log: l.log, what: "listener has no connection and tries again"}
	malformed := rareLog{log: l.log, what: "notifications that cannot be understood were ignored"}
	for ctx.Err() == nil {
		err := l.session(ctx, &malformed, retry.reset)
		l.loop.setProven(false)
		if ctx.Err() != nil {
			l.disconnected(nil)
			return
		}
		l.disconnected(err)
		in := retry.delay()
		warning.warn("error", err, "in", in)
		l.loop.sleep(ctx, in, nil)
	}
}

// session is one connection, from LISTEN to its end.
func (l *Listener) session(ctx context.Context, malformed *rareLog, established func()) error {
	set := l.queues()
	sub, err := l.subscribe(ctx, set)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer func() {
		if err := sub.Close(); err != nil {
			l.log.Debug("close the notification connection", "error", err)
		}
	}()
	if err := l.verify(ctx, sub); err != nil {
		return err
	}
	l.connected(set)
	established()
	for {
		if err := l.receiveUntil(ctx, sub, set, time.Now().Add(jitter(l.cfg.VerifyInterval)), malformed); err != nil {
			return err
		}
		before := set
		if set = l.queues(); set != before {
			if err := l.relisten(ctx, sub, set); err != nil {
				return err
			}
		}
		if err := l.verify(ctx, sub); err != nil {
			return err
		}
		if set != before {
			l.listensFor(set, before)
		}
	}
}

func (l *Listener) subscribe(ctx context.Context, set *queueSet) (Subscription, error) {
	l.loop.Beat(l.cfg.ConnectionTimeout)
	ctx, cancel := context.WithTimeout(ctx, l.cfg.ConnectionTimeout)
	defer cancel()
	return l.sub.Subscribe(ctx, set.names)
}

func (l *Listener) verify(ctx context.Context, sub Subscription) error {
	l.loop.Beat(l.cfg.ConnectionTimeout)
	ctx, cancel := context.WithTimeout(ctx, l.cfg.ConnectionTimeout)
	defer cancel()
	if err := sub.Verify(ctx); err != nil {
		return fmt.Errorf("verify that notifications come back: %w", err)
	}
	return nil
}

// receiveUntil takes in events until the given time, or until the queues are
// others, coming round often enough to show that it lives.
func (l *Listener) receiveUntil(ctx context.Context, sub Subscription, set *queueSet, until time.Time, malformed *rareLog) error {
	for {
		left := time.Until(until)
		if left <= 0 || l.queues() != set {
			return nil
		}
		if err := l.receiveFor(ctx, sub, set, min(left, longestWait), malformed); err != nil {
			return err
		}
	}
}

func (l *Listener) receiveFor(ctx context.Context, sub Subscription, set *queueSet, d time.Duration, malformed *rareLog) error {
	round, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if !l.interruptible(set, cancel) {
		return nil
	}
	defer l.interruptible(set, nil)
	l.loop.Beat(d)
	for {
		event, err := sub.Receive(round)
		switch {
		case err == nil:
			l.received(event, malformed)
			if round.Err() != nil {
				return ctx.Err() // a stream without a gap must not keep the loop from coming round
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case round.Err() != nil:
			return nil
		default:
			return fmt.Errorf("receive notifications: %w", err)
		}
	}
}

// received sorts an event. It never blocks.
func (l *Listener) received(event Event, malformed *rareLog) {
	if event.ReceivedAt.IsZero() {
		event.ReceivedAt = time.Now()
	}
	l.mu.Lock()
	wanted := l.set.has(event.Queue)
	l.stats.EventsReceived++
	l.stats.LastEventAt = event.ReceivedAt
	switch {
	case event.Kind == EventUnknown:
		l.stats.Malformed++
	case !wanted:
		l.stats.Foreign++
	case event.Kind == EventStepReady:
		l.stats.StepEvents++
	}
	l.mu.Unlock()

	switch {
	case event.Kind == EventUnknown:
		malformed.warn("payload", event.Payload)
	case !wanted:
	case event.Kind == EventQueueCreated:
		// Messages may have been sent before its trigger was there.
		l.inbox.addConfig(ConfigUpdate{Type: QueueAdded, Queue: event.Queue, At: event.ReceivedAt})
		l.inbox.add(sweepOf(event.Queue, event.ReceivedAt))
	default:
		event.Source = SourceNotification
		l.inbox.add(event)
	}
}

func sweepOf(queue string, at time.Time) Event {
	return Event{Kind: EventStepReady, Source: SourceSweep, Queue: queue, Count: 1, ReceivedAt: at}
}

// connected notes a proven connection and emits the sweep.
func (l *Listener) connected(set *queueSet) {
	now := time.Now()
	l.mu.Lock()
	l.stats.Connected = true
	l.stats.Connects++
	first := l.stats.Connects == 1
	l.mu.Unlock()
	l.prove(set, set.names)
	l.inbox.setHealth(HealthUpdate{Component: "listener", Healthy: true, At: now})
	if first {
		l.log.Info("listening", "queues", len(set.names))
	} else {
		l.log.Info("listening again; all queues are swept", "queues", len(set.names))
	}
}

// disconnected notes the end of a session; nil means that it was wanted.
func (l *Listener) disconnected(err error) {
	now := time.Now()
	l.mu.Lock()
	l.stats.Connected = false
	if err != nil {
		l.stats.ConnectionErrors++
		l.stats.LastError, l.stats.LastErrorAt = err.Error(), now
	}
	l.mu.Unlock()
	if err != nil {
		l.inbox.setHealth(HealthUpdate{Component: "listener", Reason: err.Error(), At: now})
	}
}
