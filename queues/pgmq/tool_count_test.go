package pgmq

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
)

func TestCountMessages(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders")
		_, err := b.Send(t.Context(), "orders", sends("", `1`, `2`, `3`))
		require.NoError(t, err)
		_, err = b.Send(t.Context(), "orders", []queues.Outgoing{{Body: []byte(`4`), Delay: time.Hour}})
		require.NoError(t, err)
		for limit, want := range map[int64]int64{3: 3, 4: 4, 10: 4} {
			n, err := b.CountMessages(t.Context(), "orders", limit)
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		_, err = b.CountMessages(t.Context(), "nowhere", 1)
		require.ErrorIs(t, err, queues.ErrQueueMissing)
	})
}
