package host_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func bufferKeyTests() map[string]keyTest {
	return map[string]keyTest{
		"event_system.buffers.events":      testEventBuffer,
		"event_system.buffers.settlements": testSettlementBuffer,
		"event_system.buffers.bytes":       testByteBuffer,
	}
}

// testEventBuffer announces many delayed messages at once: each one's time is
// kept for as long as there is room, and then the earliest of a queue.
func testEventBuffer(t *testing.T, key string) {
	const burst = 500
	announced := func(limit string) (b *bundle, announce func()) {
		b = startConfigured(t, conf{key: limit, "queue.notifications": `"tasker"`})
		return b, func() {
			b.sql(`SELECT pg_notify('pgmq_message_ready', jsonb_build_object('event_type', 'message_ready',
				'msg_id', n, 'queue_name', 'a_queue', 'delay_seconds', 1000)::text) FROM generate_series(1, $1::int) n`, burst)
		}
	}
	tight, announce := announced("1")
	tight.eventually("events are merged", func() bool {
		announce()
		return tight.Status(t.Context()).Listener.Coalesced > 0
	})
	roomy, announce := announced("1000000")
	for range 10 {
		announce()
	}
	roomy.eventually("all are received", func() bool { return roomy.Status(t.Context()).Listener.Notifications >= 10*burst })
	require.Zero(t, roomy.Status(t.Context()).Listener.Coalesced)
}

// testSettlementBuffer keeps outcomes from being settled.
func testSettlementBuffer(t *testing.T, key string) {
	const unread = `SELECT count(*) FROM pgmq.q_a_queue WHERE read_ct = 0`
	stalled := func(c conf) (b *bundle, mend func()) {
		b = startConfigured(t, conf{"namespace:b.result_queue": "null"}.with(c))
		tx, err := b.db.Begin(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
		_, err = tx.Exec(t.Context(), `LOCK TABLE pgmq.q_results IN SHARE MODE`)
		require.NoError(t, err)
		b.send("a_queue", `{}`)
		b.eventually("an outcome waits", func() bool { return b.namespace("a").Settling == 1 })
		b.send("a_queue", bodies(20, `{}`)...)
		return b, func() {
			require.NoError(t, tx.Rollback(t.Context()))
			b.results(21)
		}
	}
	tight, mend := stalled(conf{key: "1"})
	tight.send("b_queue", `{}`)
	tight.eventually("the other namespace is not disturbed", func() bool { return tight.Settled(t.Context(), "b") == 1 })
	// A claim that was under way when the first outcome came may have taken one.
	require.GreaterOrEqual(t, tight.count(unread), 19)
	mend()

	roomy, mend := stalled(conf{})
	roomy.eventually("more is claimed", func() bool { return roomy.count(unread) == 0 })
	mend()
}

// testByteBuffer has a large message run while another one comes.
func testByteBuffer(t *testing.T, key string) {
	const unread = `SELECT count(*) FROM pgmq.q_a_queue WHERE read_ct = 0`
	loaded := func(c conf) *bundle {
		b := startConfigured(t, c)
		b.send("a_queue", fmt.Sprintf(`{"log": %q, "until": %q, "fill": %q}`, b.path("log"), b.path("go"), strings.Repeat("x", 5000)))
		b.eventually("the handler runs", func() bool { return len(b.runs("log")) == 1 })
		b.send("a_queue", `{}`)
		return b
	}
	tight := loaded(conf{key: `"4KiB"`})
	tight.eventually("the namespace waits", func() bool { return strings.Contains(tight.namespace("a").Blocked, "buffers.bytes") })
	require.Equal(t, 1, tight.count(unread))
	tight.touch("go")
	tight.results(2)

	roomy := loaded(conf{})
	roomy.results(1)
	roomy.touch("go")
	roomy.results(2)
}
