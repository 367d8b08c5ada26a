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
	sending := tables{source: known["orders"], targets: []*layout{known["dead"]}}
	for _, was := range lengthsOfOrders {
		if was.sql != "" {
			b.exec(was.sql)
		}
		for _, s := range []struct {
			group
			tables
			sends     []outgoing
			arguments string
		}{
			{group{kind: kindComplete}, orders, nil, "NULL, NULL, NULL"},
			{group{kind: kindComplete}, sending, []outgoing{{plain: true}}, "NULL, NULL, NULL, NULL, NULL"},
			{group{kind: kindRetry}, orders, nil, "NULL, NULL, NULL, NULL, NULL"},
			{group{kind: kindRelease}, orders, nil, "NULL, NULL, NULL, NULL, NULL"},
			{group{kind: kindDead, dead: "dead"}, dead, nil, "NULL, NULL, NULL, NULL"},
		} {
			plan := b.plan(b.settle, b.settleSQL(s.group, s.tables, family{}, s.sends), s.arguments)
			require.Contains(t, plan, "Index Cond: (msg_id = ANY ($1))", "%s: %s", was.name, plan)
			require.NotRegexp(t, "Join|Nested Loop", plan, was.name)
		}
		plan := b.plan(b.beat, extendSQL(known["orders"]), "NULL, NULL, NULL, NULL")
		require.Equal(t, 3, strings.Count(plan, "Index Cond: (msg_id = ANY ("), "%s: %s", was.name, plan)
		require.NotRegexp(t, "Join|Nested Loop", plan, was.name)
	}
}

// Of the records beside the queues only those of the batch are looked at.
func TestRecordsAreForgottenByTheirKeys(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_4)
	b.create("orders")
	known, err := b.layoutsOf(t.Context(), b.work, []string{"orders"})
	require.NoError(t, err)
	completing := b.settleSQL(group{kind: kindComplete}, tables{source: known["orders"]}, family{}, nil)
	for _, was := range []string{
		"VACUUM ANALYZE " + bookkeepingTable,
		"INSERT INTO " + bookkeepingTable + " SELECT 'orders', n, clock_timestamp(), '{}' FROM generate_series(1, 5000) n",
		"ANALYZE " + bookkeepingTable,
	} {
		b.exec(was)
		plan := b.plan(b.settle, completing, "NULL, NULL, NULL")
		require.Contains(t, plan, "Tid Scan on bookkeeping", "%s: %s", was, plan)
		require.Contains(t, plan, "Index Cond: ((queue = 'orders'::text) AND (msg_id = done_2.msg_id) AND (enqueued_at = done_2.enqueued_at))", "%s: %s", was, plan)
	}
}
