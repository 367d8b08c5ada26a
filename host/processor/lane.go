package processor

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// lane runs one namespace: it claims into free slots, hands steps to the
// plugin and settles what comes back. Everything that finds work calls hint.
type lane struct {
	ns      Namespace
	opts    *Options
	decide  decider
	slots   *slots
	share   *share
	budget  *budget
	nextID  *atomic.Uint64
	metrics laneMetrics
	log     hclog.Logger

	// wake has one place: any number of wakes before the loop looks are one.
	wake chan struct{}
	// kick does the same for the settler.
	kick chan struct{}

	work sync.WaitGroup // fetches of large bodies

	// turn is held while the lane may claim. Who has paused it and then got the
	// turn knows that nothing is claimed any more.
	turn sync.Mutex

	mu        sync.Mutex
	entries   map[uint64]*entry
	byMessage map[int64]*entry
	running   int      // entries that hold a slot
	pending   []*entry // outcomes that wait for the settler
	fetches   []*entry // entries whose body is to be fetched
	fetching  bool
	hunger    hunger
	paused    bool
	stopped   bool          // claims no more, for good
	closing   bool          // and no claim is under way any more
	empty     chan struct{} // closed when closing and no entries are left
	status    laneStatus

	progress  atomic.Int64 // host's clock in ns when the loop last came round
	extending atomic.Bool  // a round of lease extensions is under way
	assertAll atomic.Bool  // the next round takes every lease, whatever its age
}

// laneStatus is what people are told about a lane.
type laneStatus struct {
	counts  map[Outcome]uint64
	blocked string // why it does not claim, or ""
	// blockedLevel is at what level that was logged.
	blockedLevel hclog.Level
	lastError    string
	lastAt       time.Time
}

func newLane(p *Processor, ns Namespace) *lane {
	l := &lane{
		ns:        ns,
		opts:      &p.opts,
		decide:    decider{ns: ns, workerID: p.opts.WorkerID, queueOf: p.opts.QueueOf},
		slots:     p.slots,
		budget:    p.budget,
		nextID:    &p.nextID,
		hunger:    hunger{recheckStep: rechecks},
		metrics:   p.opts.Metrics.lane(ns.Name),
		log:       p.opts.Logger.With("namespace", ns.Name, "queue", ns.Queue),
		wake:      make(chan struct{}, 1),
		kick:      make(chan struct{}, 1),
		entries:   make(map[uint64]*entry),
		byMessage: make(map[int64]*entry),
		empty:     make(chan struct{}),
		status:    laneStatus{counts: make(map[Outcome]uint64)},
	}
	l.share = p.slots.join(ns.Concurrency, func() { poke(l.wake) })
	return l
}

// poke puts a token into a channel with one place.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// hint tells the lane that its queue may have work.
func (l *lane) hint(event queues.Event) {
	l.mu.Lock()
	if event.Delay > 0 {
		l.hunger.dueIn(l.opts.Now(), event.Delay)
	} else {
		l.hunger.feed(event)
	}
	l.mu.Unlock()
	poke(l.wake)
}

// run is the lane's loop. It returns when ctx ends.
func (l *lane) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := l.fill(ctx)
		timer.Reset(min(next.in, heartbeatOfLoops))
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		case <-next.changed:
		}
	}
}

// heartbeatOfLoops is how often an idle loop comes round to show that it lives.
const heartbeatOfLoops = 10 * time.Second

// never is a wait that only the heartbeat ends.
const never = time.Hour

// wait says when a lane looks again if nobody wakes it.
type wait struct {
	in      time.Duration
	changed <-chan struct{} // nil: nothing else to wait for
}

// fill claims until the queue is empty, the slots are taken, or something is
// in the way, and says when to look again.
func (l *lane) fill(ctx context.Context) wait {
	for ctx.Err() == nil {
		l.progress.Store(l.opts.Now().UnixNano())
		if w, again := l.fillOnce(ctx); !again {
			return w
		}
	}
	return wait{in: never}
}

func (l *lane) fillOnce(ctx context.Context) (w wait, again bool) {
	l.turn.Lock()
	defer l.turn.Unlock()
	exec, w, ok := l.admissible(ctx)
	if !ok {
		return w, false
	}
	look, ok := l.takeHunger()
	if ok && l.claim(ctx, exec, look) {
		return wait{}, true
	}
	return wait{in: l.untilNext(), changed: exec.Changed}, false
}

// admissible tells whether the lane may claim at all now: not paused, plugin
// ready, bytes left, results deliverable.
func (l *lane) admissible(ctx context.Context) (laneExecutor, wait, bool) {
	l.mu.Lock()
	held := l.paused || l.stopped
	l.mu.Unlock()
	if held {
		return laneExecutor{}, wait{in: never}, false
	}
	exec, ok := l.opts.Registry.Executor(l.ns.Name)
	if !ok {
		l.block(hclog.Warn, "no plugin is registered for the namespace")
		return laneExecutor{}, wait{in: time.Second}, false
	}
	state := exec.State()
	if !state.Ready {
		// The supervisor reports its plugins.
		l.block(hclog.Debug, "plugin not ready: "+state.Reason)
		return laneExecutor{}, wait{in: never, changed: state.Changed}, false
	}
	if spent, freed := l.budget.spent(); spent {
		l.block(hclog.Debug, "buffers.bytes is spent")
		return laneExecutor{}, wait{in: never, changed: freed}, false
	}
	if !l.resultQueueExists(ctx) {
		return laneExecutor{}, wait{in: 2 * time.Second}, false
	}
	l.block(hclog.NoLevel, "")
	return laneExecutor{Executor: exec, ExecutorState: state}, wait{}, true
}

// laneExecutor is an executor with the state that was looked at.
type laneExecutor struct {
	Executor
	ExecutorState
}

// resultQueueExists keeps the lane from running steps whose results could not
// be delivered.
func (l *lane) resultQueueExists(ctx context.Context) bool {
	if l.ns.ResultQueue == "" {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	ok, err := l.opts.Broker.Exists(ctx, l.ns.ResultQueue)
	switch {
	case err != nil:
		l.block(hclog.Warn, fmt.Sprintf("look for result queue %q: %v", l.ns.ResultQueue, err))
		return false
	case !ok:
		l.block(hclog.Warn, (&queues.MissingQueueError{Queue: l.ns.ResultQueue}).Error())
		return false
	}
	return true
}

// block notes why the lane does not claim. A change is logged once, as a
// warning where nobody else reports it.
func (l *lane) block(level hclog.Level, why string) {
	l.mu.Lock()
	before, beforeLevel := l.status.blocked, l.status.blockedLevel
	l.status.blocked, l.status.blockedLevel = why, level
	l.mu.Unlock()
	switch {
	case why == before:
	case why == "":
		l.log.Log(min(beforeLevel, hclog.Info), "namespace claims again")
	default:
		l.log.Log(level, "namespace does not claim", "reason", why)
	}
}

// takeHunger takes the reason to look, if there is one and there is room.
func (l *lane) takeHunger() (look, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.opts.Now()
	if !l.hunger.hungry(now) {
		return look{}, false
	}
	return l.hunger.take(now), true
}

// untilNext is how long until the lane has a reason of its own to look.
func (l *lane) untilNext() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hunger.next(l.opts.Now())
}

// room is how many messages may be claimed beside those in hand; l.mu is held.
func (l *lane) room(state ExecutorState) int {
	room := min(l.ns.Concurrency-l.running, l.opts.BatchSize, l.opts.SettlementBuffer-len(l.entries)+l.running)
	if state.MaxConcurrency > 0 {
		room = min(room, state.MaxConcurrency-l.running)
	}
	if !l.opts.BatchProcessing {
		room = min(room, 1)
	}
	return room
}

// setPaused stops or resumes claiming. After a pause has returned nothing more
// is claimed.
func (l *lane) setPaused(paused bool) {
	l.mu.Lock()
	l.paused = paused
	if !paused {
		l.hunger.feed(queues.Event{Source: queues.SourceSweep})
	}
	l.mu.Unlock()
	poke(l.wake)
	if paused {
		l.turn.Lock()
		defer l.turn.Unlock()
	}
}

// stop ends claiming for good.
func (l *lane) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	poke(l.wake)
}

// awaitClaim waits for a claim that was under way when the lane was stopped.
// From then on the lane is empty once its entries are settled.
func (l *lane) awaitClaim() {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	l.checkEmpty()
}

// checkEmpty reports the end of the last entry; l.mu is held.
func (l *lane) checkEmpty() {
	if !l.closing || len(l.entries) > 0 {
		return
	}
	select {
	case <-l.empty:
	default:
		close(l.empty)
	}
}

// cancelAll cancels every running step, those of one executor if it is not nil.
func (l *lane) cancelAll(of Executor, reason pluginv1.CancelReason) {
	l.mu.Lock()
	now := l.opts.Now()
	all := make(cancellations)
	for _, e := range l.entries {
		if of != nil && e.exec != of {
			continue
		}
		if e.state == running && e.cancelled == pluginv1.CancelReason_CANCEL_REASON_UNSPECIFIED {
			e.cancelled, e.cancelledAt = reason, now
			all.add(e)
		}
	}
	l.mu.Unlock()
	all.send(reason)
}

// giveUp releases every entry that has no outcome yet; what the plugin answers
// later is ignored.
func (l *lane) giveUp(why string) {
	l.finish(func() (done []*entry) {
		for _, e := range l.entries {
			if e.state != settling {
				l.decide.release(e, why)
				done = append(done, e)
			}
		}
		return done
	})
}
