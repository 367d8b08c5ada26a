package pgmq

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

func TestQueuesHaveHomes(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10, func(o *Options) { o.MaxConnections = 8 })
	require.Len(t, b.claims.single, 2)
	require.EqualValues(t, 2, b.claims.shared.Config().MaxConns)
	require.Len(t, b.settles.single, 2)
	require.EqualValues(t, 1, b.settles.shared.Config().MaxConns)

	h := b.claims
	used := make(map[*pgxpool.Pool]int)
	for i := range 100 {
		used[h.of(fmt.Sprint(i))]++
		require.Same(t, h.of(fmt.Sprint(i)), h.of(fmt.Sprint(i)))
	}
	require.Len(t, used, 2, "all homes are used")
	require.NotContains(t, used, h.shared)

	acquire := func(p *pgxpool.Pool) *pgxpool.Conn {
		c, err := p.Acquire(t.Context())
		require.NoError(t, err)
		t.Cleanup(c.Release)
		return c
	}
	home := h.of("orders")
	acquire(home)
	require.Same(t, h.shared, h.of("orders"), "who finds its home busy goes elsewhere")
	acquire(h.shared)
	require.Same(t, h.shared, h.of("orders"))
	acquire(h.shared)
	other := h.of("orders")
	require.NotSame(t, h.shared, other)
	require.NotSame(t, home, other)
	acquire(other)
	require.Same(t, h.shared, h.of("orders"), "and waits where most connections are")
}

func TestFewConnectionsHaveNoHomes(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10, func(o *Options) { o.MaxConnections = minMaxConnections })
	require.Empty(t, b.claims.single)
	require.Same(t, b.work, b.claims.of("orders"))
	b.create("orders")
	b.send("orders", `{}`)
	require.Len(t, b.claim("orders", 1), 1)
}

// TestProbesKeepHomesAwake: a home whose connection was terminated is found by a
// probe and not by a claim.
func TestProbesKeepHomesAwake(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	b.send("orders", `{}`)
	require.Len(t, b.claim("orders", 1), 1)
	home := b.claims.of("orders")
	require.EqualValues(t, 1, home.Stat().TotalConns())
	c, err := home.Acquire(t.Context())
	require.NoError(t, err)
	pid := c.Conn().PgConn().PID()
	c.Release()
	b.exec(fmt.Sprintf("SELECT pg_terminate_backend(%d, 5000)", pid))
	_, err = b.Probe(t.Context(), []string{"orders"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return home.Stat().TotalConns() == 0 }, patience, 10*time.Millisecond, "the probe has closed it")
	b.send("orders", `{}`)
	require.Len(t, b.claim("orders", 1), 1)
}
