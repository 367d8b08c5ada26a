package pgmq

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

func TestProbe(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("empty", "ready", "due")
		b.send("ready", `{}`)
		b.exec(`UPDATE pgmq.q_ready SET vt = clock_timestamp() - interval '1 minute'`)
		b.exec(`SELECT pgmq.send('due', '{}', 100), pgmq.send('due', '{}', 50)`)
		states, err := b.Probe(t.Context(), []string{"due", "missing", "ready", "empty", "ready"})
		require.NoError(t, err)
		require.Len(t, states, 5)
		require.False(t, states[0].Visible)
		require.Greater(t, states[0].NextDue, 40*time.Second)
		require.LessOrEqual(t, states[0].NextDue, 50*time.Second)
		require.Equal(t, queues.QueueState{Queue: "missing", Missing: true, NextDue: -1}, states[1])
		require.True(t, states[2].Visible)
		require.GreaterOrEqual(t, states[2].OldestWait, time.Minute)
		require.Less(t, states[2].NextDue, time.Duration(0))
		require.Equal(t, queues.QueueState{Queue: "empty", NextDue: -1}, states[3])
		require.True(t, states[4].Visible)
	})
}

func TestProbeIsolatesABlockedQueue(t *testing.T) {
	t.Parallel()
	// Nothing but the probe's own timeout is in force.
	b := open(t, withParameter(t, pgmqtest.New(t, pgmqtest.V1_10), "lock_timeout", "0"))
	var names []string
	for i := range 70 {
		names = append(names, fmt.Sprintf("q%d", i))
	}
	b.create(names...)
	b.send("q0", `{}`)
	b.send("q69", `{}`)
	b.exec("BEGIN")
	b.exec("LOCK TABLE pgmq.q_q7 IN ACCESS EXCLUSIVE MODE")
	states, err := b.Probe(t.Context(), names)
	require.NoError(t, err)
	b.exec("ROLLBACK")
	for i, state := range states {
		require.Equal(t, i == 7, state.Err != nil, "%d: %v", i, state.Err)
		require.False(t, state.Missing)
		require.Equal(t, i == 0 || i == 69, state.Visible)
	}
	require.ErrorContains(t, states[7].Err, `probe queue "q7"`)
}

func TestProbeUsesOneConnection(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10, func(o *Options) { o.MaxConnections = minMaxConnections })
	b.create("orders")
	states, err := b.Probe(t.Context(), []string{"orders"})
	require.NoError(t, err)
	require.Len(t, states, 1)
	b.send("orders", `{}`)
	b.mustEnd(b.claimOne("orders").Lease, queues.DeadLetter{Queue: "orders_dead", Send: sends("orders", `1`)})
	_, err = b.DeadReplay(t.Context(), "orders_dead", DeadIDs(1), ReplayOptions{})
	require.NoError(t, err, "nothing needs a second connection while it holds one")
	var connections int
	require.NoError(t, b.db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'stephost %'`).Scan(&connections))
	require.LessOrEqual(t, connections, minMaxConnections)
}

func TestLookAhead(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders")
		state, err := b.LookAhead(t.Context(), "orders")
		require.NoError(t, err)
		require.Equal(t, queues.QueueState{Queue: "orders", NextDue: -1}, state)
		b.send("orders", `{}`)
		b.exec(`SELECT pgmq.send('orders', '{}', 100)`)
		state, err = b.LookAhead(t.Context(), "orders")
		require.NoError(t, err)
		require.True(t, state.Visible)
		require.Greater(t, state.NextDue, 90*time.Second)
		require.LessOrEqual(t, state.NextDue, 100*time.Second)
		b.exec(`SELECT pgmq.drop_queue('orders')`)
		_, err = b.LookAhead(t.Context(), "orders")
		require.ErrorIs(t, err, queues.ErrQueueMissing)
	})
}
