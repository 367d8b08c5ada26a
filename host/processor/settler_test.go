package processor

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
)

// settlingLane is a lane with one entry that waits for its settlement. It has
// no database: these tests say what a settlement told.
func settlingLane(t *testing.T) (*lane, *entry) {
	t.Helper()
	ns := testDecider().ns
	ns.Concurrency = 1
	p := New(Options{
		Namespaces: []Namespace{ns}, Limits: Limits{MaxConcurrent: 1, Bytes: 100, SettlementBuffer: 20},
		Metrics: NewMetrics(prometheus.NewRegistry()), Logger: hclog.NewNullLogger(),
	})
	l := p.table().all[0]
	e := testEntry()
	e.id, e.bytes, e.state = 1, 100, settling
	e.action = queues.Complete{}
	l.entries[e.id], l.byMessage[e.lease.ID] = e, e
	l.budget.add(e.bytes)
	return l, e
}

// told settles the lane's entry with a made-up result.
func told(l *lane, e *entry, result queues.SettleResult) []fate {
	tried := []queues.Settlement{{Lease: e.lease, Action: e.action}}
	gone, _ := l.acknowledge([]*entry{e}, tried, []queues.SettleResult{result}, l.opts.Now())
	l.pending = nil
	return gone
}

// stalled is a database whose settlements take until the test lets them go on.
type stalled struct {
	queues.Broker
	began  chan int // how many members
	answer chan queues.SettleStatus
}

func (s *stalled) Settle(_ context.Context, _ string, batch []queues.Settlement) []queues.SettleResult {
	s.began <- len(batch)
	status := <-s.answer
	results := make([]queues.SettleResult, len(batch))
	for i := range results {
		results[i].Status = status
	}
	return results
}

// settleMore gives a lane outcomes to settle.
func settleMore(l *lane, n int) {
	l.finish(func() (done []*entry) {
		for range n {
			e := testEntry()
			e.id, e.action, e.outcome = l.nextID.Add(1), queues.Complete{}, OutcomeSucceeded
			e.lease.ID = int64(e.id) //nolint:gosec // small
			l.entries[e.id], l.byMessage[e.lease.ID] = e, e
			done = append(done, e)
		}
		return done
	})
}

// idleSettlers is a lane without outcomes and with its settlers at work. Each call
// of the database takes until the test answers it.
func idleSettlers(t *testing.T) (*lane, *stalled) {
	t.Helper()
	l, e := settlingLane(t)
	delete(l.entries, e.id)
	delete(l.byMessage, e.lease.ID)
	db := &stalled{began: make(chan int, settlers), answer: make(chan queues.SettleStatus)}
	l.opts.Broker = db
	ctx, end := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for range settlers {
		work.Go(func() { l.settle(ctx) })
	}
	t.Cleanup(func() {
		end()
		work.Wait()
	})
	return l, db
}

func TestSettlersWorkSideBySideOnlyWhenClaimsWouldBeHeldUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, db := idleSettlers(t)
		settleMore(l, 1)
		require.Equal(t, 1, <-db.began)

		settleMore(l, 10)
		require.Empty(t, l.kick, "nobody is woken for a few")
		poke(l.kick)
		synctest.Wait()
		require.Empty(t, db.began, "and who wakes all the same leaves them")
		settleMore(l, 1)
		require.Equal(t, 11, <-db.began, "beside the other one, which is still under way")

		settleMore(l, 30)
		synctest.Wait()
		require.Empty(t, db.began, "both are at work")
		db.answer <- queues.Settled
		require.Equal(t, 30, <-db.began, "whoever has ended looks again")
		for range settlers {
			db.answer <- queues.Settled
		}
		synctest.Wait()
		require.Empty(t, l.entries)
		require.Zero(t, l.flushes)
		require.Zero(t, l.underWay)
	})
}

func TestSettlerThatPausesAfterAFailureIsNotStoodInFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, db := idleSettlers(t)
		settleMore(l, 1)
		<-db.began
		db.answer <- queues.SettleUnknown
		synctest.Wait()
		settleMore(l, 1)
		synctest.Wait()
		require.Empty(t, db.began, "it pauses")
		require.Equal(t, 2, <-db.began, "it tries again, with what has come meanwhile")
		db.answer <- queues.Settled
	})
}

func TestSettlerGivesUpAfterRefusalsAndFreesTheBytes(t *testing.T) {
	t.Parallel()
	l, e := settlingLane(t)
	refused := queues.SettleResult{Status: queues.Refused, Err: errors.New("no")}
	for range maxRefusals {
		require.Empty(t, told(l, e, refused))
	}
	require.Len(t, told(l, e, refused), 1)
	require.Empty(t, l.entries)
	require.Empty(t, l.byMessage)
	held, _ := l.budget.level()
	require.Zero(t, held)
}

func TestSettlerDoesNotCountUnknownFatesAsRefusals(t *testing.T) {
	t.Parallel()
	l, e := settlingLane(t)
	for range 3 * maxRefusals {
		require.Empty(t, told(l, e, queues.SettleResult{Status: queues.SettleUnknown, Err: errors.New("connection lost")}))
	}
	require.Empty(t, told(l, e, queues.SettleResult{Status: queues.Refused, Err: errors.New("no")}))
	require.Contains(t, l.entries, e.id)
}

func TestSettlerTakesNoRowAfterAnUnknownFateForNoLoss(t *testing.T) {
	t.Parallel()
	l, e := settlingLane(t)
	e.outcome = OutcomeSucceeded
	told(l, e, queues.SettleResult{Status: queues.SettleUnknown, Err: errors.New("connection lost")})
	gone := told(l, e, queues.SettleResult{Status: queues.LeaseLost})
	require.Len(t, gone, 1)
	require.Equal(t, OutcomeSucceeded, gone[0].outcome)

	l, e = settlingLane(t)
	gone = told(l, e, queues.SettleResult{Status: queues.LeaseLost})
	require.Equal(t, OutcomeLeaseLost, gone[0].outcome)
}

func TestSettlerRepeatsAFencedSettlementUnderAnAdoptedLease(t *testing.T) {
	t.Parallel()
	l, e := settlingLane(t)
	tried := []queues.Settlement{{Lease: e.lease, Action: e.action}}
	l.adopt(e, &queues.Delivery{Lease: queues.Lease{Queue: e.lease.Queue, ID: e.lease.ID, Epoch: e.lease.Epoch + 2, EnqueuedAt: e.lease.EnqueuedAt}}, leaseTerm{time.Now(), time.Minute})
	gone, _ := l.acknowledge([]*entry{e}, tried, []queues.SettleResult{{Status: queues.LeaseLost}}, l.opts.Now())
	require.Empty(t, gone)
	require.Equal(t, []*entry{e}, l.pending)
}

func TestSettlerDoesNotAdoptWhatItHasGivenBack(t *testing.T) {
	t.Parallel()
	_, e := settlingLane(t)
	redelivered := func(after queues.Epoch) *queues.Delivery {
		lease := e.lease
		lease.Epoch += after
		return &queues.Delivery{Lease: lease}
	}
	require.True(t, e.isRedelivered(redelivered(1)))
	require.True(t, e.isRedelivered(redelivered(2)), "a completed message does not come back")
	e.action = queues.Release{}
	require.True(t, e.isRedelivered(redelivered(1)), "the lease ran out before the give-back")
	require.False(t, e.isRedelivered(redelivered(2)), "the give-back was committed")
	other := redelivered(1)
	other.EnqueuedAt = other.EnqueuedAt.Add(time.Microsecond)
	require.False(t, e.isRedelivered(other))
}

func TestLaneThatNeverRunsDryStaysLive(t *testing.T) {
	t.Parallel()
	l, _ := settlingLane(t)
	l.paused = true
	require.Zero(t, l.progress.Load())
	l.fill(t.Context())
	require.NotZero(t, l.progress.Load(), "each look counts, not each rest")
}
