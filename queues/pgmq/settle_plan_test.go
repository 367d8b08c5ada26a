package pgmq

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// Settlements and heartbeats look at their own messages only, whatever was in the
// queue when the plan was made.
func TestEndsOfLeasesArePlannedForQueuesOfAnyLength(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	b.create("dead")
	b.exec(`ALTER TABLE pgmq.q_orders SET (autovacuum_enabled = off)`)
	known, err := b.layoutsOf(t.Context(), b.work, []string{"orders", "dead"})
	require.NoError(t, err)
	orders, dead := tables{source: known["orders"]}, tables{source: known["orders"], dead: known["dead"]}
	for _, was := range lengthsOfOrders {
		if was.sql != "" {
			b.exec(was.sql)
		}
		for _, s := range []struct {
			group
			tables
			arguments string
		}{
			{group{kind: kindComplete}, orders, "NULL, NULL, NULL"},
			{group{kind: kindRetry}, orders, "NULL, NULL, NULL, NULL, NULL"},
			{group{kind: kindRelease}, orders, "NULL, NULL, NULL, NULL, NULL"},
			{group{kind: kindDead, dead: "dead"}, dead, "NULL, NULL, NULL, NULL, NULL"},
		} {
			plan := b.plan(b.settle, b.settleSQL(s.group, s.tables, family{}, nil), s.arguments)
			require.Contains(t, plan, "Index Cond: (msg_id = ANY ($1))", "%s: %s", was.name, plan)
			require.NotContains(t, plan, "Nested Loop", "%s: %s", was.name, plan)
		}
		plan := b.plan(b.beat, extendSQL(known["orders"]), "NULL, NULL, NULL, NULL")
		require.Equal(t, 3, strings.Count(plan, "Index Cond: (msg_id = ANY ($1))"), "%s: %s", was.name, plan)
		require.NotContains(t, plan, "Nested Loop", "%s: %s", was.name, plan)
	}
}
