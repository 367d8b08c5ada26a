package processor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/processor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// plan is what the processor was built with, for a test to change.
func (b *bundle) plan(changes ...func(*processor.Plan)) processor.Plan {
	plan := processor.Plan{
		Namespaces: slices.Clone(b.opts.Namespaces), Limits: b.opts.Limits, DrainTimeout: patience,
	}
	for _, change := range changes {
		change(&plan)
	}
	return plan
}

func (b *bundle) apply(changes ...func(*processor.Plan)) (gone <-chan struct{}) {
	b.t.Helper()
	gone, err := b.Apply(b.t.Context(), b.plan(changes...))
	require.NoError(b.t, err)
	return gone
}

func (b *bundle) await(ch <-chan struct{}) {
	b.t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		b.t.Fatal("it did not happen")
	}
}

// quietly enqueues without telling anybody.
func (b *bundle) quietly(queue string, bodies ...string) {
	b.t.Helper()
	out := make([]queues.Outgoing, len(bodies))
	for i, body := range bodies {
		out[i].Body = []byte(body)
	}
	_, err := b.broker.Send(b.t.Context(), queue, out)
	require.NoError(b.t, err)
}

func other(ns processor.Namespace) processor.Namespace {
	ns.Name, ns.Queue = "other", "other_queue"
	return ns
}

// gate is a handler that reports each start and waits to be let through, or
// cancelled.
type gate struct{ started, open chan struct{} }

func newGate() *gate {
	return &gate{started: make(chan struct{}, 1000), open: make(chan struct{})}
}

func (g *gate) handle(ctx context.Context, _ *pluginv1.Step) *pluginv1.Result {
	g.started <- struct{}{}
	select {
	case <-g.open:
		return succeeded(`1`)
	case <-ctx.Done():
		return failure(context.Cause(ctx).Error())
	case <-time.After(patience): // a test that failed
		return failure("nobody opened the gate")
	}
}

func TestAddedNamespaceFindsWhatItsQueueHas(t *testing.T) {
	t.Parallel()
	b := setup(t, newScripted(succeed))
	b.quietly("other_queue", `{}`, `{}`)
	b.apply(func(p *processor.Plan) { p.Namespaces = append(p.Namespaces, other(p.Namespaces[0])) })
	for _, e := range b.settled(2) {
		require.Equal(t, "other", e.Namespace)
	}
	b.send(`{}`)
	require.Equal(t, "ns", b.settled(1)[0].Namespace)
}

func TestRemovedNamespaceFinishesWhatItHasInHand(t *testing.T) {
	t.Parallel()
	g := newGate()
	metrics := prometheus.NewRegistry()
	b := setup(t, newScripted(g.handle), func(o *processor.Options) {
		o.Namespaces[0].Concurrency = 1
		o.Metrics = processor.NewMetrics(metrics)
	})
	b.send(`{}`, `{}`, `{}`, `{}`)
	b.await(g.started)

	gone := b.apply(func(p *processor.Plan) { p.Namespaces = nil })
	b.hint() // is late, and no error
	status, err := processor.Do(t.Context(), b.Processor, processor.GetStatus{})
	require.NoError(t, err)
	require.True(t, status.Namespaces[0].Leaving)
	require.Equal(t, 1, status.Namespaces[0].Running)
	_, err = processor.Do(t.Context(), b.Processor, processor.Pause{Namespace: "ns"})
	require.ErrorIs(t, err, processor.ErrUnknownNamespace)

	close(g.open)
	b.await(gone)
	require.Equal(t, processor.OutcomeSucceeded, b.settled(1)[0].Outcome)
	require.Equal(t, 3, b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE read_ct = 0`), "the others stay untouched")
	status, err = processor.Do(t.Context(), b.Processor, processor.GetStatus{})
	require.NoError(t, err)
	require.Empty(t, status.Namespaces)
	families, err := metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		require.NotContains(t, f.String(), `"ns"`)
	}
	require.ErrorIs(t, b.ExecuteStep(t.Context(), queues.Event{Queue: "ns_queue"}), processor.ErrUnknownQueue)

	b.apply()
	require.Len(t, b.settled(3), 3, "and come back with the namespace")
}

func TestRemovedNamespaceGivesBackWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	for _, obeys := range []bool{true, false} {
		t.Run(fmt.Sprintf("the handler obeys: %v", obeys), func(t *testing.T) {
			t.Parallel()
			g := newGate()
			handle := g.handle
			if !obeys {
				handle = func(_ context.Context, s *pluginv1.Step) *pluginv1.Result {
					return g.handle(context.Background(), s)
				}
			}
			b := setup(t, newScripted(handle), func(o *processor.Options) { o.KillTimeout = 100 * time.Millisecond })
			t.Cleanup(func() { close(g.open) })
			b.send(`{}`)
			b.await(g.started)
			b.await(b.apply(func(p *processor.Plan) { p.Namespaces, p.DrainTimeout = nil, 0 }))
			require.Equal(t, processor.OutcomeReleased, b.settled(1)[0].Outcome)
			require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE vt <= clock_timestamp()`))
			if !obeys {
				hung := b.givenUp()
				require.ErrorContains(t, hung.cause, `handler "work" has ignored its cancellation (draining)`)
			}
			require.Empty(t, b.exec.abandoned)
		})
	}
}

func TestChangedConcurrencyInterruptsNothing(t *testing.T) {
	t.Parallel()
	g := newGate()
	b := setup(t, newScripted(g.handle), func(o *processor.Options) { o.Namespaces[0].Concurrency = 1 })
	concurrency := func(n int) func(*processor.Plan) {
		return func(p *processor.Plan) { p.Namespaces[0].Concurrency = n }
	}
	b.send(slices.Repeat([]string{`{}`}, 9)...)
	b.await(g.started)
	b.apply(concurrency(5))
	for range 4 {
		b.await(g.started)
	}
	b.apply(concurrency(2))
	g.open <- struct{}{}
	b.settled(1)
	status, err := processor.Do(t.Context(), b.Processor, processor.GetStatus{})
	require.NoError(t, err)
	require.Equal(t, 4, status.Namespaces[0].Running, "four are above the new bound and go on")
	for range 3 {
		g.open <- struct{}{}
	}
	b.settled(3)
	b.await(g.started)
	close(g.open)
	for _, e := range b.settled(5) {
		require.Equal(t, processor.OutcomeSucceeded, e.Outcome)
	}
}

func TestChangedPolicyDecidesAboutWhatRuns(t *testing.T) {
	t.Parallel()
	let := make(chan struct{})
	b := setup(t, newScripted(func(context.Context, *pluginv1.Step) *pluginv1.Result {
		<-let
		return failure("no luck")
	}))
	b.exec1(`SELECT pgmq.create('other_dead')`)
	b.send(`{}`)
	b.apply(func(p *processor.Plan) {
		p.Namespaces[0].Retry.MaxAttempts = 1
		p.Namespaces[0].ResultQueue = "other_queue"
		p.Namespaces[0].DeadLetter = "other_dead"
	})
	close(let)
	require.Equal(t, processor.OutcomeDeadLettered, b.settled(1)[0].Outcome)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_other_dead`))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_other_queue`))
}

func TestNamespaceMovesToAnotherQueueAndStaysPaused(t *testing.T) {
	t.Parallel()
	g := newGate()
	metrics := prometheus.NewRegistry()
	b := setup(t, newScripted(g.handle), func(o *processor.Options) { o.Metrics = processor.NewMetrics(metrics) })
	b.send(`{}`)
	b.await(g.started)
	_, err := processor.Do(t.Context(), b.Processor, processor.Pause{Namespace: "ns"})
	require.NoError(t, err)
	b.quietly("other_queue", `{}`)

	gone := b.apply(func(p *processor.Plan) { p.Namespaces[0].Queue = "other_queue" })
	status, err := processor.Do(t.Context(), b.Processor, processor.GetStatus{})
	require.NoError(t, err)
	require.Len(t, status.Namespaces, 2)
	require.True(t, status.Namespaces[0].Paused)
	require.Equal(t, "other_queue", status.Namespaces[0].Namespace.Queue)
	require.True(t, status.Namespaces[1].Leaving)

	close(g.open)
	b.await(gone)
	require.Equal(t, processor.OutcomeSucceeded, b.settled(1)[0].Outcome)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_other_queue WHERE read_ct = 0`), "it is paused")
	_, err = processor.Do(t.Context(), b.Processor, processor.Resume{Namespace: "ns"})
	require.NoError(t, err)
	b.settled(1)
	families, err := metrics.Gather()
	require.NoError(t, err)
	text := fmt.Sprint(families)
	require.Contains(t, text, `"ns"`, "the series of the name are still somebody's")
}

func TestLeaseOfAnotherLengthIsAssertedAtOnce(t *testing.T) {
	t.Parallel()
	g := newGate()
	b := setup(t, newScripted(g.handle), func(o *processor.Options) { o.Lease = time.Hour })
	b.send(`{}`)
	b.await(g.started)
	leased := func(condition string) func() bool {
		return func() bool {
			return b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE vt - clock_timestamp() `+condition) == 1
		}
	}
	lease := func(d time.Duration) { b.apply(func(p *processor.Plan) { p.Limits.Lease = d }) }
	lease(time.Second)
	require.Eventually(t, leased(`< interval '2 seconds'`), patience, 5*time.Millisecond)
	lease(time.Hour)
	require.Eventually(t, leased(`> interval '50 minutes'`), patience, 5*time.Millisecond)
	close(g.open)
	require.Equal(t, processor.OutcomeSucceeded, b.settled(1)[0].Outcome)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.a_ns_queue WHERE read_ct = 1`), "nobody else got it")
}

func TestChangedLimitsAreInForce(t *testing.T) {
	t.Parallel()
	g := newGate()
	b := setup(t, newScripted(g.handle), func(o *processor.Options) {
		o.MaxConcurrent, o.Bytes, o.SettlementBuffer = 1, 1, 1
	})
	b.send(slices.Repeat([]string{`{"n": 1}`}, 4)...)
	b.await(g.started)
	b.apply(func(p *processor.Plan) { p.Limits.MaxConcurrent = 4 })
	require.Eventually(t, func() bool {
		status, err := processor.Do(t.Context(), b.Processor, processor.GetStatus{})
		return err == nil && status.SlotsTotal == 4 && strings.Contains(status.Namespaces[0].Blocked, "bytes")
	}, patience, 5*time.Millisecond)
	b.apply(func(p *processor.Plan) {
		p.Limits.MaxConcurrent, p.Limits.Bytes, p.Limits.SettlementBuffer = 4, 1<<20, 100
	})
	for range 3 {
		b.await(g.started)
	}
	close(g.open)
	b.settled(4)
}

func TestFailedRebindingChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, newScripted(succeed))
	_, err := b.Apply(t.Context(), b.plan(func(p *processor.Plan) {
		p.Namespaces = []processor.Namespace{other(p.Namespaces[0])}
		p.Limits.MaxConcurrent = 1
		p.Rebind = func() error {
			b.send(`{}`)
			return errors.New("no")
		}
	}))
	require.EqualError(t, err, "no")
	require.Equal(t, "ns", b.settled(1)[0].Namespace, "it goes on, with what came meanwhile")
	status, err := processor.Do(t.Context(), b.Processor, processor.GetStatus{})
	require.NoError(t, err)
	require.Len(t, status.Namespaces, 1)
	require.Equal(t, b.opts.MaxConcurrent, status.SlotsTotal)
}

func TestApplyIsRefusedOnceTheEndHasBegun(t *testing.T) {
	t.Parallel()
	g := newGate()
	b := setup(t, newScripted(g.handle))
	b.send(`{}`)
	b.await(g.started)
	gone := b.apply(func(p *processor.Plan) { p.Namespaces = nil })
	drained := make(chan error, 1)
	go func() { drained <- b.Drain(t.Context()) }()
	require.Eventually(t, func() bool {
		_, err := b.Apply(b.t.Context(), b.plan())
		return err != nil
	}, patience, time.Millisecond)
	_, err := b.Apply(b.t.Context(), b.plan())
	require.ErrorIs(t, err, processor.ErrDraining)
	close(g.open)
	require.NoError(t, <-drained)
	b.await(gone)
	require.Equal(t, processor.OutcomeSucceeded, b.settled(1)[0].Outcome, "the drain waits for what leaves too")
}

func TestReloadsInALoopUnderLoadLoseNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, newScripted(func(ctx context.Context, _ *pluginv1.Step) *pluginv1.Result {
		select {
		case <-time.After(time.Duration(rand.IntN(3)) * time.Millisecond):
			return succeeded(`1`)
		case <-ctx.Done():
			return failure(context.Cause(ctx).Error())
		}
	}), func(o *processor.Options) { o.KillTimeout = 10 * time.Millisecond })
	b.exec1(`SELECT pgmq.create('third_queue')`)
	names := []string{"ns_queue", "other_queue", "third_queue"}
	const rounds, each = 60, 20

	var producer sync.WaitGroup
	producer.Go(func() {
		for i := range rounds * len(names) {
			b.quietly(names[i%len(names)], slices.Repeat([]string{`{}`}, each)...)
			_ = b.ExecuteStep(t.Context(), queues.Event{Kind: queues.EventStepReady, Queue: names[i%len(names)], ReceivedAt: time.Now()})
		}
	})
	ns := b.opts.Namespaces[0]
	all := func(p *processor.Plan) {
		third := ns
		third.Name, third.Queue = "third", "third_queue"
		p.Namespaces = []processor.Namespace{ns, other(ns), third}
	}
	for range rounds {
		b.apply(all, func(p *processor.Plan) {
			p.DrainTimeout = time.Duration(rand.IntN(3)) * time.Millisecond
			p.Namespaces = p.Namespaces[rand.IntN(3):]
			if first := &p.Namespaces[0]; first.Name != "ns" && rand.IntN(2) == 0 {
				first.Queue = "ns_queue" // moves, or stays
			}
			for i := range p.Namespaces {
				p.Namespaces[i].Concurrency = 1 + rand.IntN(20)
			}
			p.Limits.MaxConcurrent = 1 + rand.IntN(40)
			p.Limits.BatchSize = 1 + rand.IntN(20)
			p.Limits.BatchProcessing = rand.IntN(2) == 0
			p.Limits.Lease = time.Duration(1+rand.IntN(30)) * time.Second
			p.Limits.Bytes = int64(1 + rand.IntN(100))
		})
		time.Sleep(5 * time.Millisecond)
	}
	producer.Wait()
	b.apply(all)
	require.Eventually(t, func() bool {
		left := 0
		for _, name := range names {
			left += b.count(`SELECT count(*) FROM pgmq.q_` + name)
		}
		return left == 0
	}, patience, 20*time.Millisecond)
	total := rounds * len(names) * each
	require.Equal(t, total, b.count(`SELECT count(*) FROM pgmq.q_results WHERE (message->>'success')::bool`))
	require.Equal(t, total, b.count(`SELECT count(DISTINCT (message->>'queue', message->>'message_id')) FROM pgmq.q_results`))
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_ns_dead`))
	require.Eventually(t, func() bool {
		status, err := processor.Do(t.Context(), b.Processor, processor.GetStatus{})
		return err == nil && len(status.Namespaces) == len(names) && status.SlotsUsed == 0 && status.BytesHeld == 0
	}, patience, 5*time.Millisecond, "nothing is left of the lanes that went")
}

func TestRemovedNamespaceDoesNotWaitForRoomForABody(t *testing.T) {
	t.Parallel()
	g := newGate()
	b := setup(t, newScripted(g.handle), func(o *processor.Options) {
		o.Namespaces = append(o.Namespaces, other(o.Namespaces[0]))
		o.Bytes, o.KillTimeout = 3<<20, time.Millisecond
	})
	large := func(queue string) {
		b.exec1(`INSERT INTO pgmq.q_` + queue + ` (vt, message) VALUES (clock_timestamp(), jsonb_build_object('x', repeat(md5(random()::text), 65536)))`)
		require.NoError(t, b.ExecuteStep(t.Context(), queues.Event{Queue: queue, Source: queues.SourceSweep, ReceivedAt: time.Now()}))
	}
	large("other_queue")
	b.await(g.started)
	large("ns_queue")
	require.Eventually(t, func() bool {
		return b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE read_ct > 0`) == 1
	}, patience, time.Millisecond)

	b.await(b.apply(func(p *processor.Plan) { p.Namespaces, p.DrainTimeout = p.Namespaces[1:], 0 }))
	require.Equal(t, processor.OutcomeReleased, b.settled(1)[0].Outcome)
	close(g.open)
	require.Equal(t, processor.OutcomeSucceeded, b.settled(1)[0].Outcome)
	status, err := processor.Do(t.Context(), b.Processor, processor.GetStatus{})
	require.NoError(t, err)
	require.Zero(t, status.BytesHeld)
}
