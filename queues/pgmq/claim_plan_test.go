package pgmq

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// lengthsOfOrders are what the queue of that name can have gone through when its
// plans are made.
var lengthsOfOrders = []struct{ name, sql string }{
	{"never analysed", ""},
	{"analysed when it was empty", "VACUUM ANALYZE pgmq.q_orders"},
	{"a few", `INSERT INTO pgmq.q_orders (vt, message) SELECT clock_timestamp(), '{}' FROM generate_series(1, 50)`},
	{"a few, analysed", `VACUUM ANALYZE pgmq.q_orders`},
	{"many, analysed when they were few", `INSERT INTO pgmq.q_orders (vt, message) SELECT clock_timestamp() + n * interval '1 second', '{}' FROM generate_series(1, 5000) n`},
	{"many", `VACUUM ANALYZE pgmq.q_orders`},
	{"drained", `DELETE FROM pgmq.q_orders`},
	{"drained, analysed, with its pages", `ANALYZE pgmq.q_orders`},
	{"drained and vacuumed", `VACUUM ANALYZE pgmq.q_orders`},
}

// The server keeps one plan for all claims of a connection, whatever was in the
// queue when it was made.
func TestClaimsArePlannedForQueuesOfAnyLength(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	b.exec(`ALTER TABLE pgmq.q_orders SET (autovacuum_enabled = off)`)
	for _, was := range lengthsOfOrders {
		if was.sql != "" {
			b.exec(was.sql)
		}
		plan := b.claimPlan("orders")
		require.Regexp(t, `(?s)Nested Loop.*->  CTE Scan on picked p.*->  Tid Scan on q_orders m.*TID Cond: \(ctid = p.place\)`, plan, was.name)
		require.Contains(t, plan, "Index Scan using q_orders_vt_idx on q_orders ", was.name)
		require.NotContains(t, plan, "Sort", was.name)
	}
}

// claimPlan is the plan that a claim's connection makes once for all claims.
func (b *bundle) claimPlan(queue string) string {
	b.t.Helper()
	known, err := b.layoutsOf(b.t.Context(), b.work, []string{queue})
	require.NoError(b.t, err)
	return b.plan(b.work, known[queue].claim, `1, 1, 1, '-infinity', 'infinity'`)
}

// plan is the one that a connection of a pool keeps for a statement.
func (b *bundle) plan(pool *pgxpool.Pool, sql, arguments string) (plan string) {
	b.t.Helper()
	err := pool.AcquireFunc(b.t.Context(), func(conn *pgxpool.Conn) error {
		_, err := conn.Exec(b.t.Context(), `SET plan_cache_mode = force_generic_plan; PREPARE kept AS `+sql, pgx.QueryExecModeSimpleProtocol)
		require.NoError(b.t, err)
		rows, err := conn.Query(b.t.Context(), `EXPLAIN EXECUTE kept (`+arguments+`)`)
		require.NoError(b.t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(b.t, err)
		plan = strings.Join(lines, "\n")
		_, err = conn.Exec(b.t.Context(), `RESET plan_cache_mode; DEALLOCATE kept`, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	require.NoError(b.t, err)
	return plan
}

// A place is unique in one table only. Where somebody has made the queue a parent
// since the layout was read, no message is claimed for another.
func TestClaimsOfAQueueThatWasInheritedFrom(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	require.Empty(t, b.claim("orders", 10), "the layout is known")
	b.exec(`CREATE TABLE pgmq.later () INHERITS (pgmq.q_orders)`)
	b.exec(`INSERT INTO pgmq.later (msg_id, vt, message) OVERRIDING SYSTEM VALUE VALUES (1000, clock_timestamp() + interval '1 hour', '"delayed"')`)
	b.send("orders", `1`)
	require.Equal(t, []string{`1`}, bodies(b.claim("orders", 10)))

	b.layouts.drop("orders")
	b.exec(`UPDATE pgmq.later SET vt = clock_timestamp()`)
	b.send("orders", `2`)
	require.ElementsMatch(t, []string{`"delayed"`, `2`}, bodies(b.claim("orders", 10)))
	one, err := b.Claim(t.Context(), queues.ClaimRequest{Queue: "orders", ID: 1000, Lease: time.Minute})
	require.NoError(t, err)
	require.Empty(t, one, "it is leased")
}

// What somebody else changes between the claim's snapshot and its lock is claimed
// once, as it is then, or left for the next claim.
func TestAMessageThatChangesDuringTheClaimIsLeftForTheNext(t *testing.T) {
	t.Parallel()
	for name, single := range map[string]bool{"a table": true, "not one table": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, pgmqtest.V1_10)
			b.create("orders")
			if !single {
				b.exec(`CREATE TABLE pgmq.child () INHERITS (pgmq.q_orders)`)
			}
			ids := b.send("orders", `1`, `2`, `3`)
			// The statement's snapshot is older than the change: its claim waits behind an
			// advisory lock between the two.
			b.exec(`SELECT pg_advisory_lock(7)`)
			known, err := b.layoutsOf(t.Context(), b.work, []string{"orders"})
			require.NoError(t, err)
			l := known["orders"]
			require.Equal(t, single, l.single)
			waiting := strings.Replace(l.claim, asyncCommit, asyncCommit+` AND (SELECT pg_advisory_xact_lock(7)) IS NOT NULL`, 1)
			require.NotEqual(t, l.claim, waiting)
			l.claim = waiting

			type answer struct {
				got []queues.Delivery
				err error
			}
			claimed := make(chan answer, 1)
			go func() {
				got, _, err := b.lease(t.Context(), l, false, queues.ClaimRequest{Queue: "orders", Limit: 10, Lease: time.Minute}, int64(10), beginning(), end())
				claimed <- answer{got, err}
			}()
			require.Eventually(t, func() bool {
				return b.count(`pg_locks WHERE locktype = 'advisory' AND NOT granted`) == 1
			}, patience, 10*time.Millisecond)
			b.exec(`UPDATE pgmq.q_orders SET message = '"changed"' WHERE msg_id = $1`, ids[1])
			b.exec(`SELECT pg_advisory_unlock(7)`)
			first := <-claimed
			require.NoError(t, first.err)
			l.claim = claimSQL(l, false, false)
			all := append(bodies(first.got), bodies(b.claim("orders", 10))...)
			require.ElementsMatch(t, []string{`1`, `3`, `"changed"`}, all)
			if single {
				require.Len(t, first.got, 2)
			}
			require.Equal(t, 3, b.count(`pgmq.q_orders WHERE read_ct = 1`))
		})
	}
}
