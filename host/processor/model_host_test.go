package processor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stephost/stephost/internal/pgseam"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

// site is where a virtual host runs: it outlives the host's crash.
type site struct {
	name   string
	proxy  *pgseam.Proxy
	broker *pgmq.Broker
}

func openSite(ctx context.Context, dsn, name string) (s *site, err error) {
	s = &site{name: name}
	// No lock takes long, but the machine may be slow to let go of it.
	if s.proxy, err = pgseam.New(dsn + "&lock_timeout=60s&application_name=" + name); err != nil {
		return nil, err
	}
	// Time passes by moving the messages' times, which would leave them behind a
	// floor that a slow machine has made the broker keep.
	s.broker, err = pgmq.Open(ctx, pgmq.Options{DSN: s.proxy.DSN(), LongWalk: time.Hour})
	if err != nil {
		return nil, errors.Join(err, s.proxy.Close())
	}
	return s, nil
}

func (s *site) close() error {
	s.broker.Close()
	return s.proxy.Close()
}

// vhost is a host whose loops are turned by hand: the real lane, decider,
// settler and keeper on the real broker, with a scripted plugin.
type vhost struct {
	*site
	clock    *atomic.Int64 // ns; runs on when the world's clock does
	p        *Processor
	lane     *lane
	keeper   keeping
	spy      *spy
	plugin   *puppet
	grips    map[uint64]*grip // the model of what it has in hand, by step
	asserted uint64           // the incarnation to which its leases were asserted

	mu     sync.Mutex
	events []StepEvent
}

// grip is the model of an entry.
type grip struct {
	step  uint64
	key   rowKey
	tag   int
	epoch int32
	counts
	term time.Time // the lease's start on the host's clock

	waiting bool // for a turn apart
	running bool
	group   int

	cancelled   pluginv1.CancelReason
	cancelledAt time.Time
	leaseLost   bool

	verdict *verdict
	unknown bool
}

func newVhost(s *site, clock *atomic.Int64, incarnation *atomic.Uint64) *vhost {
	h := &vhost{
		site: s, clock: clock, plugin: &puppet{},
		spy:   &spy{Broker: s.broker, incarnation: incarnation},
		grips: make(map[uint64]*grip),
	}
	h.p = New(Options{
		Broker:   h.spy,
		Registry: h,
		Namespaces: []Namespace{{
			Name: "ns", Queue: modelQueue, Plugin: "puppet", Concurrency: 50, StepKey: "step",
			ResultQueue: modelResults, DeadLetter: modelDead,
			Retry: RetryPolicy{
				MaxAttempts: modelMaxAttempts, MaxDeliveries: modelMaxDeliveries, MaxCrashes: modelMaxCrashes,
				Delay: Linear(modelTick, 2*modelTick),
			},
		}},
		Limits: Limits{
			MaxConcurrent: 50, BatchSize: 50, BatchProcessing: true, Lease: modelLease,
			SettlementBuffer: 1000, Bytes: 64 << 20, KillTimeout: 2 * modelTick,
		},
		WorkerID: s.name,
		QueueOf:  func(ns string) (string, bool) { return ns, true },
		OnStep:   h.observe,
		Metrics:  NewMetrics(prometheus.NewRegistry()),
		Logger:   hclog.NewNullLogger(),
		Now:      h.now,
	})
	h.lane = h.p.table().all[0]
	h.keeper.incarnation = incarnation.Load()
	return h
}

func (h *vhost) String() string { return h.name }

func (h *vhost) now() time.Time { return time.Unix(1_000_000_000, h.clock.Load()) }

func (h *vhost) Executor(string) (Executor, bool) { return h.plugin, true }

func (h *vhost) observe(e StepEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// reported are the outcomes that were told since the last time.
func (h *vhost) reported() (outcomes []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.Kind == StepSettled {
			outcomes = append(outcomes, fmt.Sprintf("%d %s", e.MessageID, e.Outcome))
		}
	}
	h.events = nil
	slices.Sort(outcomes)
	return outcomes
}

// where are the grips of a kind, oldest first.
func (h *vhost) where(which func(*grip) bool) (some []*grip) {
	for _, g := range h.grips {
		if which(g) {
			some = append(some, g)
		}
	}
	slices.SortFunc(some, func(a, b *grip) int { return int(a.step) - int(b.step) })
	return some
}

func isRunning(g *grip) bool { return g.running }
func isDecided(g *grip) bool { return g.verdict != nil }
func runsApart(g *grip) bool { return g.running && g.group > 0 }
func runsAmong(g *grip) bool { return g.running && g.group == 0 }
func isWaiting(g *grip) bool { return g.waiting }

// latest is the grip on a message that a redelivery is about.
func (h *vhost) latest(key rowKey) (latest *grip) {
	for _, g := range h.grips {
		if g.key == key && (latest == nil || g.step > latest.step) {
			latest = g
		}
	}
	return latest
}

// spy passes everything on and remembers it.
type spy struct {
	queues.Broker
	incarnation *atomic.Uint64

	mu       sync.Mutex
	claims   []claimed
	settled  []settledBatch
	extended []extendedBatch

	answer sync.Mutex // held while no settlement may tell the host how it went
}

type claimed struct {
	deliveries []queues.Delivery
	err        error
}

type settledBatch struct {
	batch   []queues.Settlement
	results []queues.SettleResult
}

type extendedBatch struct {
	leases   []queues.Lease
	statuses []queues.ExtendStatus
	err      error
}

// Incarnation is the model's: the server need not really crash.
func (s *spy) Incarnation() uint64 { return s.incarnation.Load() }

func (s *spy) Claim(ctx context.Context, req queues.ClaimRequest) ([]queues.Delivery, error) {
	got, err := s.Broker.Claim(ctx, req)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claims = append(s.claims, claimed{got, err})
	return got, err
}

func (s *spy) Settle(ctx context.Context, queue string, batch []queues.Settlement) []queues.SettleResult {
	results := s.Broker.Settle(ctx, queue, batch)
	s.answer.Lock()
	defer s.answer.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = append(s.settled, settledBatch{batch, results})
	return results
}

func (s *spy) Extend(ctx context.Context, queue string, leases []queues.Lease, d time.Duration) ([]queues.ExtendStatus, error) {
	statuses, err := s.Broker.Extend(ctx, queue, leases, d)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extended = append(s.extended, extendedBatch{leases, statuses, err})
	return statuses, err
}

func taken[T any](s *spy, from *[]T) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := *from
	*from = nil
	return all
}

// puppet is a plugin that does nothing until the test says what has happened.
type puppet struct {
	mu         sync.Mutex
	dispatched []*pluginv1.Step
	cancelled  []string
	abandoned  []uint64
	turn       Suspects
}

func (x *puppet) State() ExecutorState {
	return ExecutorState{Ready: true, Default: "work", Steps: map[string]struct{}{"work": {}}}
}

func (x *puppet) Dispatch(steps []*pluginv1.Step, _ Sink) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dispatched = append(x.dispatched, steps...)
}

func (x *puppet) Cancel(ids []uint64, reason pluginv1.CancelReason) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range ids {
		x.cancelled = append(x.cancelled, cancelLine(id, reason))
	}
}

func cancelLine(id uint64, reason pluginv1.CancelReason) string {
	return fmt.Sprintf("step %d: %v", id, reason)
}

func (x *puppet) Abandon(ids []uint64, _ error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.abandoned = append(x.abandoned, ids...)
}

func (x *puppet) Apart(s Suspects, _ bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.turn = s
}

// heardSteps are the steps that were dispatched since the last time.
func (x *puppet) heardSteps() []*pluginv1.Step {
	x.mu.Lock()
	defer x.mu.Unlock()
	steps := x.dispatched
	x.dispatched = nil
	return steps
}

// heardStops are the cancelled and the abandoned steps since the last time.
func (x *puppet) heardStops() (cancelled []string, abandoned []uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	cancelled, abandoned = x.cancelled, x.abandoned
	x.cancelled, x.abandoned = nil, nil
	slices.Sort(cancelled)
	slices.Sort(abandoned)
	return cancelled, abandoned
}

func (x *puppet) takeTurn() Suspects {
	x.mu.Lock()
	defer x.mu.Unlock()
	turn := x.turn
	x.turn = nil
	return turn
}
