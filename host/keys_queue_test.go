package host_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func queueKeyTests() map[string]keyTest {
	return map[string]keyTest{
		"queue.dsn":                  testDSN,
		"queue.listen_dsn":           testListenDSN,
		"queue.queue_name":           testQueueName,
		"queue.notifications":        testNotifications,
		"queue.on_complete":          testOnComplete,
		"queue.pool.max_connections": testMaxConnections,
	}
}

func testDSN(t *testing.T, key string) {
	mine, other := startConfigured(t, conf{}), newDatabase(t)
	require.NotEqual(t, mine.dsn, other)
	b := runConfigured(t, mine.dsn, conf{key: strconv.Quote(other)})
	execute(t, other, `SELECT pgmq.send('a_queue', '{}')`)
	b.eventually("the host works on the other database", func() bool { return b.Settled(t.Context(), "a") == 1 })
	require.Zero(t, mine.Settled(t.Context(), "a"))

	_, err := newConfigured(t, mine.dsn, conf{key: "null"})
	require.ErrorContains(t, err, "dsn is not set")
}

func testListenDSN(t *testing.T, key string) {
	dsn := newDatabase(t)
	b := runConfigured(t, dsn, conf{key: strconv.Quote(dsn + "&application_name=direct")})
	require.NoError(t, b.WaitReady(t.Context()))
	names := `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1`
	require.Equal(t, 1, b.count(names, "stephost listen direct"))
	require.Zero(t, b.count(names, "stephost listen"))
	require.Zero(t, b.count(names, "stephost claim direct"))
}

func testQueueName(t *testing.T, key string) {
	b := startConfigured(t, conf{key: `"jobs_{namespace}"`}, "jobs_a", "jobs_b")
	b.send("a_queue", `{}`)
	b.send("jobs_a", `{}`)
	b.results(1)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE read_ct = 0`))
}

func testNotifications(t *testing.T, key string) {
	unread := `SELECT count(*) FROM pgmq.q_a_queue WHERE read_ct = 0`
	listening := func(family string) *bundle {
		b := startConfigured(t, conf{
			key:                                  family,
			"event_system.deployment_mode":       `"EventDrivenOnly"`,
			"event_system.listener.safety_sweep": `"1h"`,
		})
		b.quiesced()
		return b
	}
	announce := func(b *bundle, queue string) {
		b.sql(`SELECT pg_notify('pgmq_message_ready', jsonb_build_object('event_type', 'message_ready', 'msg_id', 1, 'queue_name', $1::text)::text)`, queue)
	}
	t.Run("tasker", func(t *testing.T) {
		b := listening(`"tasker"`)
		b.send("a_queue", `{}`) // announced by pgmq's trigger, to nobody
		b.send("b_queue", `{}`)
		announce(b, "b_queue")
		b.results(1)
		require.Equal(t, 1, b.count(unread))
		announce(b, "a_queue")
		b.results(2)
	})
	t.Run("pgmq", func(t *testing.T) {
		b := listening(`"pgmq"`)
		b.quiet("a_queue")
		b.send("a_queue", `{}`)
		announce(b, "a_queue") // to nobody
		b.send("b_queue", `{}`)
		b.results(1)
		require.Equal(t, 1, b.count(unread))
	})
}

func testOnComplete(t *testing.T, key string) {
	for value, archived := range map[string]int{`"delete"`: 0, `"archive"`: 1} {
		b := startConfigured(t, conf{key: value})
		b.send("a_queue", `{}`)
		b.results(1)
		require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_a_queue`))
		require.Equal(t, archived, b.count(`SELECT count(*) FROM pgmq.a_a_queue`), value)
	}
}

func testMaxConnections(t *testing.T, key string) {
	// Locked queues hold on to the connections of those who claim from them.
	const namespaces = 8
	c := conf{}
	var names []string
	var tables []string
	for i := range namespaces {
		c[fmt.Sprintf("namespace:n%d.plugin", i)] = `"test"`
		names = append(names, fmt.Sprintf("n%d_queue", i))
		tables = append(tables, fmt.Sprintf("pgmq.q_n%d_queue", i))
	}
	most := func(limit string, enough int) (seen int) {
		dsn := newDatabase(t)
		execute(t, dsn, `SELECT pgmq.create(q) FROM unnest($1::text[]) q`, names)
		b := runConfigured(t, dsn, c.with(conf{key: limit}))
		lock, err := b.db.Begin(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = lock.Rollback(context.Background()) })
		_, err = lock.Exec(t.Context(), `LOCK TABLE `+strings.Join(tables, ", "))
		require.NoError(t, err)
		b.eventually("claims wait for the locks", func() bool {
			n := b.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name IN ('stephost claim', 'stephost settle', 'stephost heartbeat')`)
			seen = max(seen, n)
			blocked := b.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'stephost claim' AND wait_event_type = 'Lock'`)
			return blocked >= enough
		})
		require.NoError(t, lock.Rollback(t.Context()))
		b.send("a_queue", bodies(200, `{}`)...)
		b.eventually("the messages are worked", func() bool {
			n := b.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name IN ('stephost claim', 'stephost settle', 'stephost heartbeat')`)
			seen = max(seen, n)
			return b.count(`SELECT count(*) FROM pgmq.q_results`) == 200
		})
		return seen
	}
	require.LessOrEqual(t, most("3", 1), 3)
	require.Greater(t, most("16", 4), 3)

	_, err := newConfigured(t, newDatabase(t), conf{key: "2"})
	require.ErrorContains(t, err, "max_connections is 2")
}
