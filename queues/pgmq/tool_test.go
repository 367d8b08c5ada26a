package pgmq

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

func TestSendAndPeek(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders")
		ids, err := b.Send(t.Context(), "orders", []queues.Outgoing{{Body: []byte(`{"n": 1}`)}, {Body: []byte(`{"n": 2}`), Delay: time.Hour}, {}})
		require.NoError(t, err)
		require.Equal(t, []int64{1, 2, 3}, ids)
		peeked, err := b.Peek(t.Context(), "orders", 10)
		require.NoError(t, err)
		require.Len(t, peeked, 3)
		require.JSONEq(t, `{"n": 2}`, string(peeked[1].Body))
		require.GreaterOrEqual(t, peeked[1].VisibleAt.Sub(peeked[1].EnqueuedAt), time.Hour)
		require.Nil(t, peeked[2].Body)
		require.Zero(t, peeked[0].ReadCount)

		_, err = b.Send(t.Context(), "orders", []queues.Outgoing{{Body: []byte(`1`)}, {Body: []byte(`{`)}})
		require.Error(t, err)
		require.Equal(t, 3, b.count("pgmq.q_orders"), "all or none")
		_, err = b.Send(t.Context(), "orders", []queues.Outgoing{{Body: []byte(`1`), Headers: []byte(`{"h": 1}`)}})
		if b.layouts.get("orders").headers {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "no headers column")
		}
		_, err = b.Send(t.Context(), "nobody", sends("", `1`))
		require.ErrorIs(t, err, queues.ErrQueueMissing)
		purged, err := b.Purge(t.Context(), "orders")
		require.NoError(t, err)
		require.GreaterOrEqual(t, purged, int64(3))
	})
}

func TestCreateQueue(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		var (
			all     errgroup.Group
			created = make([]bool, 4)
		)
		for i := range created {
			all.Go(func() (err error) {
				created[i], err = b.CreateQueue(t.Context(), "orders")
				return err
			})
		}
		require.NoError(t, all.Wait())
		require.Equal(t, 1, count(created), "one of them made it")
		for _, name := range []string{"", "Orders", "a-b", "a b", strings.Repeat("x", 48)} {
			_, err := b.CreateQueue(t.Context(), name)
			require.ErrorIs(t, err, queues.ErrName)
		}
		dropped, err := b.DropQueue(t.Context(), "orders")
		require.NoError(t, err)
		require.True(t, dropped)
		dropped, err = b.DropQueue(t.Context(), "orders")
		require.NoError(t, err)
		require.False(t, dropped)
	})
}

func count(flags []bool) (n int) {
	for _, flag := range flags {
		if flag {
			n++
		}
	}
	return n
}

func TestListQueues(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("many", "orders")
		b.send("orders", `1`, `2`, `3`)
		b.exec(`UPDATE pgmq.q_orders SET vt = clock_timestamp() - interval '1 minute'`)
		b.mustEnd(b.claimOne("orders").Lease, queues.Complete{})
		b.claimOne("orders")
		b.exec(`INSERT INTO pgmq.q_many (vt, message) SELECT clock_timestamp() + interval '1 hour', '{}' FROM generate_series(1, 10001)`)
		listed, err := b.ListQueues(t.Context())
		require.NoError(t, err)
		require.Len(t, listed, 2)
		many, orders := listed[0], listed[1]
		require.Equal(t, int64(countCap), many.Invisible)
		require.True(t, many.Capped)
		require.Equal(t, [3]int64{1, 1, 1}, [3]int64{orders.Visible, orders.Invisible, orders.Archived})
		require.False(t, orders.Capped)
		require.GreaterOrEqual(t, orders.OldestWait, time.Minute)
		require.False(t, orders.CreatedAt.IsZero())
	})
}

func TestListTellsWhoNotifies(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("loud")
	b.exec(`SELECT pgmq.create('quiet')`)
	listed, err := b.ListQueues(t.Context())
	require.NoError(t, err)
	require.True(t, listed[0].Notifies)
	require.False(t, listed[1].Notifies)
	created, err := b.CreateQueue(t.Context(), "quiet")
	require.NoError(t, err)
	require.False(t, created)
	listed, err = b.ListQueues(t.Context())
	require.NoError(t, err)
	require.True(t, listed[1].Notifies, "a queue that was there already is enabled too")
}

func TestWithoutPGMQ(t *testing.T) {
	t.Parallel()
	b := open(t, devpgtest.New(t))
	_, err := b.ListQueues(t.Context())
	require.ErrorIs(t, err, errNoPGMQ)
	_, err = b.CreateQueue(t.Context(), "orders")
	require.ErrorIs(t, err, errNoPGMQ)
	_, err = b.Claim(t.Context(), queues.ClaimRequest{Queue: "orders", Limit: 1})
	require.ErrorIs(t, err, queues.ErrQueueMissing)
	states, err := b.Probe(t.Context(), []string{"orders"})
	require.NoError(t, err)
	require.True(t, states[0].Missing)
}
