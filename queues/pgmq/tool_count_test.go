package pgmq

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

func TestCountMessages(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders")
		_, err := b.Send(t.Context(), "orders", sends("", `1`, `2`, `3`))
		require.NoError(t, err)
		_, err = b.Send(t.Context(), "orders", []queues.Outgoing{{Body: []byte(`4`), Delay: time.Hour}})
		require.NoError(t, err)
		b.create("empty")
		for limit, want := range map[int64]int64{3: 3, 4: 4, 10: 4} {
			counts, err := b.CountMessages(t.Context(), []string{"nowhere", "orders", "empty", "orders"}, limit)
			require.NoError(t, err)
			require.ErrorIs(t, counts[0].Err, queues.ErrQueueMissing)
			require.Equal(t, []QueueCount{{Queue: "orders", Messages: want}, {Queue: "empty"}, {Queue: "orders", Messages: want}}, counts[1:])
		}
	})
}

func TestCountIsolatesALockedQueue(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("one", "locked", "two")
	b.send("one", `{}`)
	b.send("two", `{}`)
	b.exec("BEGIN")
	b.exec("LOCK TABLE pgmq.q_locked IN ACCESS EXCLUSIVE MODE")
	counts, err := b.CountMessages(t.Context(), []string{"one", "locked", "two"}, 10)
	b.exec("ROLLBACK")
	require.NoError(t, err)
	require.ErrorContains(t, counts[1].Err, `count the messages of queue "locked"`)
	require.Equal(t, []QueueCount{{Queue: "one", Messages: 1}, {Queue: "two", Messages: 1}}, []QueueCount{counts[0], counts[2]})
}
