package queues

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// PollerConfig configures a FallbackPoller. Zero values mean the defaults.
type PollerConfig struct {
	// Name is for people; default "poller".
	Name string
	// Queues are the queues to probe at first. They need not exist.
	Queues []string
	// Interval is the longest time from the beginning of a probe to the next one's,
	// before jitter; default 5 s.
	Interval time.Duration
	// ProbeTimeout bounds one probe of all queues; default 10 s.
	ProbeTimeout time.Duration
	// Source is what the events name as theirs: SourcePoll, or SourceSweep for
	// the slow safety net of an event-driven host.
	Source Source
}

func (c PollerConfig) withDefaults() PollerConfig {
	if c.Name == "" {
		c.Name = "poller"
	}
	if c.Source != SourceSweep {
		c.Source = SourcePoll
	}
	c.Interval = orDefault(c.Interval, 5*time.Second)
	c.ProbeTimeout = orDefault(c.ProbeTimeout, 10*time.Second)
	return c
}

// shortestGap is the least time between two probes, however soon a message is
// due, and probeShare the least ratio of that gap to the time that the last
// probe took: a database that is slow to probe is not probed more for it.
const (
	shortestGap = 20 * time.Millisecond
	probeShare  = 4
)

// FallbackPoller finds work without trusting notifications: the poll path. It
// asks which queues have claimable messages, all of them in one probe, and
// emits an event for each that does; it claims nothing. The next probe comes
// after the interval, or when the next message is due, if that is sooner.
// Messages that stay claimable do not bring it forward, so a lane that is full
// does not make it spin.
//
// All methods are safe for concurrent use, except that Next has one caller at
// a time.
type FallbackPoller struct {
	cfg    PollerConfig
	prober Prober
	log    hclog.Logger
	inbox  *inbox
	loop   loop
	wake   chan struct{} // one place

	mu     sync.Mutex
	set    *queueSet
	hint   time.Time // when a message is due that no probe has seen yet
	stats  PollerStats
	states map[string]QueueState
}

// NewFallbackPoller returns a poller that does not run yet.
func NewFallbackPoller(cfg PollerConfig, prober Prober, log hclog.Logger) *FallbackPoller {
	cfg = cfg.withDefaults()
	return &FallbackPoller{
		cfg: cfg, prober: prober, log: log,
		// One event per queue is all that there can be, so it has no limit.
		inbox:  newInbox(0),
		wake:   make(chan struct{}, 1),
		set:    newQueueSet(cfg.Queues),
		states: make(map[string]QueueState, len(cfg.Queues)),
	}
}

// Start begins to poll in the background, with a probe at once. Starting a
// running poller does nothing; a stopped one can be started again.
func (p *FallbackPoller) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.loop.start(p.run) {
		return
	}
	p.inbox.setOpen(true)
	p.stats.StartedAt = time.Now()
	p.stats.Working = false
}

// WaitProven waits until the last probe has succeeded.
func (p *FallbackPoller) WaitProven(ctx context.Context) error {
	return p.loop.waitProven(ctx, func() string { return p.Stats().LastError })
}

// Next waits for the next notification. After Stop it returns what is left
// and then ErrStopped.
func (p *FallbackPoller) Next(ctx context.Context) (Notification, error) { return p.inbox.next(ctx) }

// Stop ends the loop and joins it, within ctx.
func (p *FallbackPoller) Stop(ctx context.Context) error {
	if err := p.loop.stop(ctx); err != nil {
		return fmt.Errorf("stop %s: %w", p.cfg.Name, err)
	}
	p.inbox.setOpen(false)
	return nil
}

// Pulse is the loop's sign of life.
func (p *FallbackPoller) Pulse() *Pulse { return &p.loop.Pulse }

// NotifyDue tells the poller of a message that becomes visible after d and
// that the last probe may not have seen, such as a retry that was just
// written. It does not block.
func (p *FallbackPoller) NotifyDue(queue string, d time.Duration) {
	at := time.Now().Add(d)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set.has(queue) {
		p.bringForward(at)
	}
}

// SetQueues replaces the queues that are probed, at any time, and does not
// block. Queues that are new bring the next probe forward; until it has seen
// them WaitProven waits. What is known and waits of queues that are gone is
// dropped.
func (p *FallbackPoller) SetQueues(names []string) {
	next := newQueueSet(names)
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.set
	p.set = next
	for _, queue := range before.without(next) {
		delete(p.states, queue)
		p.inbox.forget(queue)
	}
	if len(next.without(before)) > 0 {
		p.loop.setProven(false)
		p.bringForward(time.Now())
	}
}

// bringForward makes the next probe come at that time, if that is sooner; p.mu
// is held.
func (p *FallbackPoller) bringForward(at time.Time) {
	if !p.hint.IsZero() && !at.Before(p.hint) {
		return
	}
	p.hint = at
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run probes until ctx ends.
func (p *FallbackPoller) run(ctx context.Context) {
	first := min(p.cfg.Interval, time.Second)
	retry := retreat{first: first, limit: max(p.cfg.Interval, longestRetreat)}
	failing := rareLog{log: p.log, what: p.cfg.Name + " cannot ask the database and tries again"}
	faulty := rareLog{log: p.log, what: p.cfg.Name + " cannot look into a queue"}
	for ctx.Err() == nil {
		began := time.Now()
		set := p.clearHint()
		states, err := p.probe(ctx, set)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			in := retry.delay()
			p.failed(set, err, in)
			failing.warn("error", err, "in", in)
			p.loop.sleep(ctx, in, nil)
		default:
			retry.reset()
			due := p.probed(set, states, &faulty)
			p.await(ctx, began, due)
		}
	}
}

func (p *FallbackPoller) probe(ctx context.Context, set *queueSet) ([]QueueState, error) {
	p.loop.Beat(p.cfg.ProbeTimeout)
	ctx, cancel := context.WithTimeout(ctx, p.cfg.ProbeTimeout)
	defer cancel()
	states, err := p.prober.Probe(ctx, set.names)
	if err != nil {
		return nil, fmt.Errorf("probe %d queues: %w", len(set.names), err)
	}
	return states, nil
}

// clearHint forgets the hint before a probe of the set that it returns, which
// will see what it was about: whoever hinted had committed before. A probe that
// fails is followed by one that sees it.
func (p *FallbackPoller) clearHint() *queueSet {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hint = time.Time{}
	return p.set
}

// probed emits what a probe found and returns when the next message is due;
// zero means that none is.
func (p *FallbackPoller) probed(set *queueSet, states []QueueState, faulty *rareLog) (due time.Time) {
	now := time.Now()
	states = p.stillProbed(states)
	var missing []string
	emitted, skipped, faults := 0, 0, 0
	for _, state := range states {
		switch {
		case state.Missing:
			missing = append(missing, state.Queue)
			skipped++
			continue
		case state.Err != nil:
			faulty.warn("queue", state.Queue, "error", state.Err)
			skipped++
			faults++
			continue
		}
		if state.Visible {
			p.inbox.add(Event{
				Kind: EventStepReady, Source: p.cfg.Source, Queue: state.Queue, Count: 1, ReceivedAt: now,
			})
			emitted++
		}
		if state.NextDue >= 0 {
			if at := now.Add(state.NextDue); due.IsZero() || at.Before(due) {
				due = at
			}
		}
	}
	p.noteQueues(states, missing, now)

	p.mu.Lock()
	p.stats.Cycles++
	p.stats.EventsEmitted += uint64(emitted)
	p.stats.Skipped += uint64(skipped)
	p.stats.QueueErrors += uint64(faults)
	p.stats.LastPollAt = now
	p.mu.Unlock()
	p.setWorking(set, true, "")
	return due
}

// stillProbed are the states of queues that have not been given up meanwhile.
func (p *FallbackPoller) stillProbed(states []QueueState) []QueueState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(states, func(s QueueState) bool { return !p.set.has(s.Queue) })
}

// noteQueues remembers the states and reports queues that came or went.
func (p *FallbackPoller) noteQueues(states []QueueState, missing []string, now time.Time) {
	p.mu.Lock()
	var updates []ConfigUpdate
	for _, state := range states {
		if !p.set.has(state.Queue) {
			continue // given up just now
		}
		before, known := p.states[state.Queue]
		if state.Err != nil {
			state.Missing = before.Missing // a fault says nothing about that
		}
		if state.Missing && !before.Missing {
			updates = append(updates, ConfigUpdate{Type: QueueRemoved, Queue: state.Queue, At: now})
		}
		if known && before.Missing && !state.Missing {
			updates = append(updates, ConfigUpdate{Type: QueueAdded, Queue: state.Queue, At: now})
		}
		p.states[state.Queue] = state
	}
	p.stats.MissingQueues = missing
	p.mu.Unlock()
	for _, update := range updates {
		p.inbox.addConfig(update)
	}
}

// failed notes a probe that the database did not answer.
func (p *FallbackPoller) failed(set *queueSet, err error, retryIn time.Duration) {
	now := time.Now()
	p.mu.Lock()
	p.stats.Errors++
	p.stats.LastError, p.stats.LastErrorAt = err.Error(), now
	p.stats.NextPollAt = now.Add(retryIn)
	p.mu.Unlock()
	p.setWorking(set, false, err.Error())
}

// setWorking notes whether the database answers, and tells of a change. An
// answer about a set that has been replaced meanwhile proves nothing of the new
// one.
func (p *FallbackPoller) setWorking(set *queueSet, working bool, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.stats.Working != working || p.stats.Cycles+p.stats.Errors == 1
	p.stats.Working = working
	if changed {
		p.inbox.setHealth(HealthUpdate{Component: p.cfg.Name, Healthy: working, Reason: reason, At: time.Now()})
	}
	p.loop.setProven(working && p.set == set)
}

// await waits for the next probe's time, which a hint may bring forward.
func (p *FallbackPoller) await(ctx context.Context, began, due time.Time) {
	ended := time.Now()
	earliest := ended.Add(max(shortestGap, probeShare*ended.Sub(began)))
	next := began.Add(jitter(p.cfg.Interval))
	for ctx.Err() == nil {
		p.mu.Lock()
		at := next
		for _, sooner := range [...]time.Time{due, p.hint} {
			if !sooner.IsZero() && sooner.Before(at) {
				at = sooner
			}
		}
		if at.Before(earliest) {
			at = earliest
		}
		p.stats.NextPollAt = at
		p.mu.Unlock()
		left := time.Until(at)
		if left <= 0 {
			return
		}
		p.loop.sleep(ctx, left, p.wake)
	}
}

// QueueStates returns what the last probe learned of each queue, by name.
func (p *FallbackPoller) QueueStates() []QueueState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Values(p.states), func(a, b QueueState) int {
		return strings.Compare(a.Queue, b.Queue)
	})
}
