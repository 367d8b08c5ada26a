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
	name, queue string // the namespace's; they never change

	opts    *Options
	limits  func() *Limits
	slots   *slots
	share   *share
	budget  *budget
	nextID  *atomic.Uint64
	metrics laneMetrics
	log     hclog.Logger

	keepSoon chan struct{} // wakes the keeper
	life     laneLife

	// wake has one place: any number of wakes before the loop looks are one.
	wake chan struct{}
	// kick does the same for the settlers.
	kick chan struct{}

	work sync.WaitGroup // fetches of large bodies, and the wait for a last claim

	// turn is held while the lane may claim. Who has paused it and then got the
	// turn knows that nothing is claimed any more.
	turn sync.Mutex

	mu sync.Mutex
	// ns and decide are the policy in force. A change applies to what is decided
	// from then on, whenever the step began.
	ns        Namespace
	decide    decider
	entries   map[uint64]*entry
	byMessage map[int64]*entry
	highest   int64    // the highest id of a message that was ever among them
	running   int      // entries that hold a slot
	pending   []*entry // outcomes that wait for a settler
	flushes   int      // settlers that are at work
	underWay  int      // outcomes that they are settling
	fetches   []*entry // entries whose body is to be fetched
	fetching  bool
	suspects  suspects
	ahead     prefetch
	hunger    hunger
	paused    bool
	leaving   bool          // the namespace is gone, or reads another queue
	stopped   bool          // claims no more, for good
	closing   bool          // and no claim is under way any more
	quiet     chan struct{} // closed when closing
	empty     chan struct{} // closed when closing and no entries are left
	status    laneStatus

	progress  atomic.Int64  // host's clock in ns when the loop last came round
	cancelled atomic.Uint64 // steps that have been cancelled
	extending atomic.Bool   // a round of lease extensions is under way
	assertAll atomic.Bool   // the next round takes every lease, whatever its age
}

// laneStatus is what people are told about a lane.
type laneStatus struct {
	counts  map[Outcome]uint64
	blocked string // why it does not claim, or ""
	// blockedLevel is at what level that was logged.
	blockedLevel hclog.Level
	lastError    string
	faults       [operations]fault
}

func newLane(p *Processor, ns Namespace) *lane {
	l := &lane{
		name:      ns.Name,
		queue:     ns.Queue,
		opts:      &p.opts,
		limits:    p.limits.Load,
		keepSoon:  p.keepSoon,
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
		quiet:     make(chan struct{}),
		empty:     make(chan struct{}),
		status:    laneStatus{counts: make(map[Outcome]uint64)},
	}
	l.life.fetches, l.life.endFetches = context.WithCancel(context.Background())
	l.setPolicy(ns)
	l.share = p.slots.join(ns.Concurrency, func() { poke(l.wake) })
	return l
}

// setPolicy puts the namespace's values into force; l.mu is held, or the lane
// is known to nobody yet.
func (l *lane) setPolicy(ns Namespace) {
	l.ns = ns
	l.decide = decider{ns: ns, workerID: l.opts.WorkerID, queueOf: l.opts.QueueOf}
}

// change puts other values into force. What runs goes on.
func (l *lane) change(ns Namespace) {
	l.mu.Lock()
	l.setPolicy(ns)
	l.mu.Unlock()
	l.slots.relimit(l.share, ns.Concurrency)
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

// rest says when a lane looks again if nobody wakes it.
type rest struct {
	in      time.Duration
	changed <-chan struct{} // nil: nothing else to wait for
}

// fill claims until the queue is empty, the slots are taken, or something is
// in the way, and says when to look again.
func (l *lane) fill(ctx context.Context) rest {
	for ctx.Err() == nil {
		l.progress.Store(l.opts.Now().UnixNano())
		if w, again := l.fillOnce(ctx); !again {
			return w
		}
	}
	return rest{in: never}
}

func (l *lane) fillOnce(ctx context.Context) (w rest, again bool) {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.convene()
	l.serve()
	exec, w, ok := l.admissible(ctx)
	if !ok {
		return w, false
	}
	look, ok := l.takeHunger()
	if ok && l.claim(ctx, exec, look) {
		return rest{}, true
	}
	return rest{in: l.untilNext(), changed: exec.Changed}, false
}

// admissible tells whether the lane may claim at all now: not paused, plugin
// ready, bytes left, results deliverable.
func (l *lane) admissible(ctx context.Context) (laneExecutor, rest, bool) {
	l.mu.Lock()
	held := l.paused || l.stopped
	l.mu.Unlock()
	if held {
		return laneExecutor{}, rest{in: never}, false
	}
	exec, ok := l.opts.Registry.Executor(l.name)
	if !ok {
		l.block(hclog.Warn, "no plugin is registered for the namespace")
		l.dismissPrefetched("no plugin is registered for the namespace")
		return laneExecutor{}, rest{in: time.Second}, false
	}
	state := exec.State()
	if !state.Ready {
		// The supervisor reports its plugins.
		l.block(hclog.Debug, "plugin not ready: "+state.Reason)
		l.dismissPrefetched("the plugin was not ready")
		return laneExecutor{}, rest{in: never, changed: state.Changed}, false
	}
	if spent, freed := l.budget.spent(); spent {
		l.block(hclog.Debug, "buffers.bytes is spent")
		return laneExecutor{}, rest{in: never, changed: freed}, false
	}
	if !l.resultQueueExists(ctx) {
		l.dismissPrefetched("the result queue was not there")
		return laneExecutor{}, rest{in: 2 * time.Second}, false
	}
	l.block(hclog.NoLevel, "")
	return laneExecutor{Executor: exec, ExecutorState: state}, rest{}, true
}

// laneExecutor is an executor with the state that was looked at.
type laneExecutor struct {
	Executor
	ExecutorState
}

// resultQueueExists keeps the lane from running steps whose results could not
// be delivered.
func (l *lane) resultQueueExists(ctx context.Context) bool {
	l.mu.Lock()
	queue := l.ns.ResultQueue
	l.mu.Unlock()
	if queue == "" {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	ok, err := l.opts.Broker.Exists(ctx, queue)
	switch {
	case err != nil:
		l.block(hclog.Warn, fmt.Sprintf("look for result queue %q: %v", queue, err))
		return false
	case !ok:
		l.block(hclog.Warn, (&queues.MissingQueueError{Queue: queue}).Error())
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

// places is how many slots the lane could use beside those that it has; none
// once it has been stopped, which may have come after it was found admissible.
// l.mu is held.
func (l *lane) places(state ExecutorState) int {
	if l.paused || l.stopped {
		return 0
	}
	places := l.ns.Concurrency - l.running - l.slotsForSuspects()
	// Each lane counts for itself: where namespaces share a plugin, what is too
	// much together waits in its SDK, which starts no clock before the handler and
	// hands back, at no cost, what is cancelled before.
	if state.MaxConcurrency > 0 {
		places = min(places, state.MaxConcurrency-l.running+l.suspects.running)
	}
	return places
}

// room is how many messages may be claimed beside those in hand: into slots, and
// ahead of them. l.mu is held.
func (l *lane) room(state ExecutorState) (slots, ahead int) {
	if l.paused || l.stopped {
		return 0, 0
	}
	limits := l.limits()
	most := min(limits.BatchSize, limits.SettlementBuffer-len(l.entries)+l.running)
	if !limits.BatchProcessing {
		most = min(most, 1)
	}
	slots = min(l.places(state), most)
	if limits.BatchProcessing && l.ahead.bytes < limits.Bytes/prefetchBytes {
		ahead = min(l.ahead.free(), most-max(slots, 0))
	}
	return max(slots, 0), max(ahead, 0)
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
		l.dismissSuspects(func(e *entry) { l.decide.release(e, "the namespace is paused") })
		l.dismissPrefetched("the namespace is paused")
		l.turn.Lock()
		defer l.turn.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.moot(claiming)
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
			l.cancelling(all, e)
		}
	}
	l.mu.Unlock()
	all.send(reason)
}

// giveUp releases every entry that has no outcome yet; what the plugin answers
// later is ignored. It returns the steps whose handlers ignore their
// cancellation.
func (l *lane) giveUp(why string) (hung []abandonment) {
	l.life.endFetches()
	l.finish(func() (done []*entry) {
		now := l.opts.Now()
		for _, e := range l.entries {
			if e.state == running && e.cancelled != pluginv1.CancelReason_CANCEL_REASON_UNSPECIFIED {
				hung = append(hung, l.reportHung(e, now))
			}
			if e.state != settling {
				l.decide.release(e, why)
				done = append(done, e)
			}
		}
		return done
	})
	return hung
}
