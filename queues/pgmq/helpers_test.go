package pgmq

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

// bundle is a broker on a database of its own.
type bundle struct {
	*Broker
	t   *testing.T
	dsn string
	// db is a connection beside the broker's, for looking and for interfering.
	db *pgx.Conn
}

// ours is the schema that stephost installs, beside the layouts of pgmq.
const ours pgmqtest.Layout = "ours"

func setup(t *testing.T, l pgmqtest.Layout, change ...func(*Options)) *bundle {
	t.Helper()
	if l == ours {
		return open(t, devpgtest.New(t, devpgtest.Template("pgmq", installOurs)), change...)
	}
	return open(t, pgmqtest.New(t, l), change...)
}

func installOurs(ctx context.Context, conn *pgx.Conn) error {
	_, err := schema.Install(ctx, conn)
	return err
}

func open(t *testing.T, dsn string, change ...func(*Options)) *bundle {
	t.Helper()
	opts := Options{DSN: dsn}
	for _, c := range change {
		c(&opts)
	}
	b, err := Open(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(b.Close)
	db, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	return &bundle{Broker: b, t: t, dsn: dsn, db: db}
}

// overLayouts runs a test on each layout.
func overLayouts(t *testing.T, test func(t *testing.T, b *bundle), change ...func(*Options)) {
	t.Helper()
	for _, l := range append(pgmqtest.Layouts(), ours) {
		t.Run(string(l), func(t *testing.T) {
			t.Parallel()
			test(t, setup(t, l, change...))
		})
	}
}

func (b *bundle) create(names ...string) {
	b.t.Helper()
	for _, name := range names {
		created, err := b.CreateQueue(b.t.Context(), name)
		require.NoError(b.t, err)
		require.True(b.t, created)
	}
}

func (b *bundle) send(queue string, bodies ...string) []int64 {
	b.t.Helper()
	batch := make([]queues.Outgoing, len(bodies))
	for i, body := range bodies {
		batch[i].Body = []byte(body)
	}
	ids, err := b.Send(b.t.Context(), queue, batch)
	require.NoError(b.t, err)
	require.Len(b.t, ids, len(bodies))
	return ids
}

func (b *bundle) claim(queue string, limit int) []queues.Delivery {
	b.t.Helper()
	got, err := b.Claim(b.t.Context(), queues.ClaimRequest{Queue: queue, Limit: limit, Lease: time.Minute})
	require.NoError(b.t, err)
	return got
}

func (b *bundle) claimOne(queue string) queues.Delivery {
	b.t.Helper()
	got := b.claim(queue, 1)
	require.Len(b.t, got, 1)
	return got[0]
}

func (b *bundle) end(lease queues.Lease, action queues.Action) queues.SettleResult {
	b.t.Helper()
	return b.Settle(b.t.Context(), lease.Queue, []queues.Settlement{{Lease: lease, Action: action}})[0]
}

func (b *bundle) mustEnd(lease queues.Lease, action queues.Action) {
	b.t.Helper()
	got := b.end(lease, action)
	require.NoError(b.t, got.Err)
	require.Equal(b.t, queues.Settled, got.Status)
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.db.Exec(b.t.Context(), sql, args...)
	require.NoError(b.t, err)
}

func (b *bundle) count(table string) int {
	b.t.Helper()
	var n int
	require.NoError(b.t, b.db.QueryRow(b.t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
	return n
}

// expire makes every lease of the queue run out.
func (b *bundle) expire(queue string) {
	b.t.Helper()
	b.exec(fmt.Sprintf("UPDATE pgmq.q_%s SET vt = clock_timestamp() - interval '1 second'", queue))
}

func bodies(deliveries []queues.Delivery) []string {
	texts := make([]string, len(deliveries))
	for i, d := range deliveries {
		texts[i] = string(d.Body)
	}
	return texts
}
