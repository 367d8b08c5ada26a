package pgmq

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

const patience = 10 * time.Second

func (b *bundle) subscribe(names ...string) *subscription {
	b.t.Helper()
	s, err := b.Subscribe(b.t.Context(), names)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { require.NoError(b.t, s.Close()) })
	return s.(*subscription)
}

func receive(t *testing.T, s queues.Subscription) queues.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	event, err := s.Receive(ctx)
	require.NoError(t, err)
	event.ReceivedAt = time.Time{}
	return event
}

// settled proves that nothing more has arrived.
func requireQuiet(t *testing.T, s *subscription) {
	t.Helper()
	require.NoError(t, s.Verify(t.Context()))
	require.Empty(t, s.pending.events)
}

func TestListenToPGMQ(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders", "others")
	s := b.subscribe("orders", "later", "Mixed")
	b.send("others", `{}`)
	b.send("orders", `{}`)
	require.Equal(t, queues.Event{Kind: queues.EventStepReady, Queue: "orders", Count: 1}, receive(t, s))
	b.create("later")
	b.send("later", `{}`)
	require.Equal(t, "later", receive(t, s).Queue, "a queue that did not exist yet")
	b.exec(`SELECT pg_notify('pgmq.q_Mixed.INSERT', ''), pg_notify('pgmq.q_mixed.INSERT', '')`)
	require.Equal(t, "Mixed", receive(t, s).Queue)
	require.Equal(t, "Mixed", receive(t, s).Queue)
	requireQuiet(t, s)
}

func TestListenToOtherQueues(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("gone", "stays", "comes")
	s := b.subscribe("gone", "stays")
	b.send("gone", `{}`)
	b.send("stays", `{}`) // before the change, and not taken yet
	require.NoError(t, s.Listen(t.Context(), []string{"stays", "comes"}))
	b.send("gone", `{}`)
	b.send("comes", `{}`)
	b.send("stays", `{}`)
	require.Equal(t, "stays", receive(t, s).Queue)
	require.Equal(t, "comes", receive(t, s).Queue)
	require.Equal(t, "stays", receive(t, s).Queue)
	requireQuiet(t, s)
	require.NoError(t, s.Listen(t.Context(), nil))
	b.send("comes", `{}`)
	requireQuiet(t, s)
	rows, err := s.conn.Query(t.Context(), `SELECT pg_listening_channels()`)
	require.NoError(t, err)
	channels, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{s.proof}, channels)
}

func TestListenOnALostConnection(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	s := b.subscribe("orders")
	b.exec(`SELECT pg_terminate_backend($1)`, s.conn.PgConn().PID())
	require.ErrorContains(t, s.Listen(t.Context(), []string{"others"}), "the LISTEN connection is gone")
}

func TestReleaseNotifies(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders")
		b.send("orders", `{}`)
		d := b.claimOne("orders")
		s := b.subscribe("orders")
		b.mustEnd(d.Lease, queues.Release{Record: queues.Record{Failures: 1}})
		require.Equal(t, "orders", receive(t, s).Queue)
		require.Equal(t, queues.LeaseLost, b.end(d.Lease, queues.Release{}).Status)
		requireQuiet(t, s)
		again := b.claimOne("orders")
		require.Equal(t, queues.Epoch(3), again.Epoch)
		require.Equal(t, 1, again.Record.Failures)
	})
}

func TestTaskerFamily(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	require.NoError(t, pgmqtest.InstallTasker(t.Context(), b.db))
	b.announce.forget()
	b.create("worker_orders_queue", "results_queue")
	b.exec(`DROP TRIGGER trigger_notify_queue_insert_listeners ON pgmq.q_worker_orders_queue`)
	b.exec(`DROP TRIGGER trigger_notify_queue_insert_listeners ON pgmq.q_results_queue`)
	s := b.subscribe("worker_orders_queue", "results_queue")
	ready := queues.Event{Kind: queues.EventStepReady, Queue: "worker_orders_queue", Count: 1, MessageID: 1}

	b.exec(`SELECT tasker.pgmq_send_with_notify('worker_orders_queue', '{"n": 1}', 0)`)
	require.Equal(t, ready, receive(t, s), "two channels, one event")
	d := b.claimOne("worker_orders_queue")
	b.mustEnd(d.Lease, queues.Release{})
	require.Equal(t, ready, receive(t, s))
	d = b.claimOne("worker_orders_queue")

	out := sends("results_queue", `1`, `2`, `3`)
	out[1].Delay = 7 * time.Second
	out[2].Headers = []byte(`{"h": 1}`)
	b.mustEnd(d.Lease, queues.Complete{Send: out})
	got := map[time.Duration]int{}
	for range 3 {
		event := receive(t, s)
		require.Equal(t, "results_queue", event.Queue)
		got[event.Delay]++
	}
	require.Equal(t, map[time.Duration]int{0: 2, 7 * time.Second: 1}, got)
	require.Equal(t, 1, b.count(`pgmq.q_results_queue WHERE message = '3' AND headers = '{"h": 1}'`))

	b.send("worker_orders_queue", `4`, `5`)
	require.Equal(t, int64(2), receive(t, s).MessageID)
	require.Equal(t, int64(3), receive(t, s).MessageID)
	b.mustEnd(b.claimOne("worker_orders_queue").Lease, queues.DeadLetter{Queue: "dead"})
	_, err := b.DeadReplay(t.Context(), "dead", DeadIDs(1), ReplayOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(4), receive(t, s).MessageID, "a replay is announced")
	requireQuiet(t, s)
}

func TestParseNotifications(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		payload string
		want    []queues.Event
	}{
		"ready":        {`{"event_type":"message_ready","msg_id":7,"queue_name":"orders_queue","namespace":"orders","metadata":{"x":[1]},"new":1}`, []queues.Event{{Kind: queues.EventStepReady, Queue: "orders_queue", MessageID: 7, Count: 1}}},
		"delayed":      {`{"event_type":"message_with_payload","msg_id":7,"queue_name":"orders_queue","message":{"event_type":"x"},"delay_seconds":1.5}`, []queues.Event{{Kind: queues.EventStepReady, Queue: "orders_queue", MessageID: 7, Count: 1, Delay: 1500 * time.Millisecond}}},
		"endless":      {`{"event_type":"message_ready","queue_name":"orders_queue","delay_seconds":1e300}`, []queues.Event{{Kind: queues.EventStepReady, Queue: "orders_queue", Count: 1, Delay: maxDelay}}},
		"before":       {`{"event_type":"message_ready","queue_name":"orders_queue","msg_id":-3,"delay_seconds":-1}`, []queues.Event{{Kind: queues.EventStepReady, Queue: "orders_queue", Count: 1}}},
		"batch":        {`{"event_type":"batch_ready","msg_ids":[1,2],"queue_name":"orders_queue","message_count":5,"delay_seconds":0}`, []queues.Event{{Kind: queues.EventStepReady, Queue: "orders_queue", Count: 5}}},
		"spelling":     {`{"event_type":"message_ready","msg_id":7,"queue_name":"ORDERS_queue"}`, []queues.Event{{Kind: queues.EventStepReady, Queue: "orders_queue", MessageID: 7, Count: 1}}},
		"created":      {`{"event_type":"queue_created","queue_name":"fresh","namespace":"fresh"}`, []queues.Event{{Kind: queues.EventQueueCreated, Queue: "fresh", Count: 1}}},
		"other queue":  {`{"event_type":"message_ready","msg_id":7,"queue_name":"other"}`, []queues.Event{}},
		"unknown type": {`{"event_type":"dance","queue_name":"orders_queue"}`, []queues.Event{{Count: 1, Payload: `{"event_type":"dance","queue_name":"orders_queue"}`}}},
		"wrong type":   {`{"event_type":"message_ready","queue_name":5}`, []queues.Event{{Count: 1, Payload: `{"event_type":"message_ready","queue_name":5}`}}},
		"cut":          {`{"event_type":"message_ready","queue_name":"ord...}`, []queues.Event{{Count: 1, Payload: `{"event_type":"message_ready","queue_name":"ord...}`}}},
		"empty":        {``, []queues.Event{{Count: 1}}},
		"array":        {`[]`, []queues.Event{{Count: 1, Payload: `[]`}}},
		"long":         {strings.Repeat("x", 7000), []queues.Event{{Count: 1, Payload: strings.Repeat("x", 256)}}},
		"half a rune":  {strings.Repeat("x", 255) + "é", []queues.Event{{Count: 1, Payload: strings.Repeat("x", 255)}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRouter([]string{"orders_queue"}, true, true, namespaceOf)
			got := r.events(&pgconn.Notification{Channel: "pgmq_message_ready", Payload: test.payload})
			for i := range got {
				require.False(t, got[i].ReceivedAt.IsZero())
				got[i].ReceivedAt = time.Time{}
			}
			require.Empty(t, cmp.Diff(test.want, got))
		})
	}
}

func TestChannels(t *testing.T) {
	t.Parallel()
	names := []string{"worker_orders_queue", "Mixed_queue", "worker_orders_queue"}
	require.Equal(t, []string{
		"pgmq.q_Mixed_queue.INSERT", "pgmq.q_mixed_queue.INSERT", "pgmq.q_worker_orders_queue.INSERT",
		"pgmq_message_ready", "pgmq_message_ready.Mixed", "pgmq_message_ready.orders", "pgmq_queue_created",
	}, newRouter(names, true, true, namespaceOf).channels())
	require.Equal(t, []string{"pgmq.q_x.INSERT"}, newRouter([]string{"x"}, true, false, namespaceOf).channels())
}

func TestTerminatedListenerSaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	s := b.subscribe("orders")
	failed := make(chan error, 1)
	go func() {
		_, err := s.Receive(t.Context())
		failed <- err
	}()
	b.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'stephost listen'`)
	select {
	case err := <-failed:
		require.ErrorContains(t, err, "the LISTEN connection is gone")
	case <-time.After(patience):
		t.Fatal("nobody noticed")
	}
	require.Error(t, s.Verify(t.Context()))
}

func TestReceiveEndsWithItsContextAndGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	s := b.subscribe("orders")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := s.Receive(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	b.send("orders", `{}`)
	require.Equal(t, "orders", receive(t, s).Queue)
}

func TestVerifyKeepsEvents(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	s := b.subscribe("orders")
	b.send("orders", `{}`)
	b.send("orders", `{}`)
	require.NoError(t, s.Verify(t.Context()))
	require.Equal(t, "orders", receive(t, s).Queue)
	require.Equal(t, "orders", receive(t, s).Queue)
}

func TestVerifyFindsASwallowedListen(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	s := b.subscribe("orders")
	require.NoError(t, s.Verify(t.Context()))
	// What a transaction pooler amounts to.
	_, err := s.conn.Exec(t.Context(), "UNLISTEN *")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err = s.Verify(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "listen_dsn")
}

func TestCloseEndsReceive(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	s := b.subscribe("orders")
	failed := make(chan error, 1)
	go func() {
		_, err := s.Receive(t.Context())
		failed <- err
	}()
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-failed, errClosed)
	_, err := s.Receive(t.Context())
	require.ErrorIs(t, err, errClosed)
}

func TestBacklogIsBounded(t *testing.T) {
	t.Parallel()
	var b backlog
	for i := range 10 * backlogBound {
		b.add(queues.Event{Kind: queues.EventStepReady, Queue: "orders", Count: 1, MessageID: int64(i)})
		b.add(queues.Event{Kind: queues.EventUnknown, Count: 1})
	}
	require.Len(t, b.events, backlogBound)
	total := 0
	for {
		event, ok := b.next()
		if !ok {
			break
		}
		total += event.Count
	}
	require.Equal(t, 20*backlogBound, total)
}
