package processor

import (
	"errors"
	"testing"
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
		Namespaces: []Namespace{ns}, Limits: Limits{MaxConcurrent: 1, Bytes: 100},
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
	gone, _ := l.acknowledge([]*entry{e}, tried, []queues.SettleResult{result})
	l.pending = nil
	return gone
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
	gone, _ := l.acknowledge([]*entry{e}, tried, []queues.SettleResult{{Status: queues.LeaseLost}})
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
