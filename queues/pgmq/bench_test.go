package pgmq

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// BenchmarkClaimSettle drains a queue with a claimer and two settlers, each
// message with a result. One operation is one message.
func BenchmarkClaimSettle(b *testing.B) {
	for _, size := range []int{1, 100, 500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) { drain(b, pgmqtest.New(b, pgmqtest.V1_10), size) })
	}
}

func drain(b *testing.B, dsn string, size int) {
	broker, err := Open(b.Context(), Options{DSN: dsn})
	require.NoError(b, err)
	defer broker.Close()
	for _, queue := range []string{"orders", "results"} {
		_, err := broker.CreateQueue(b.Context(), queue)
		require.NoError(b, err)
	}
	db, err := pgx.Connect(b.Context(), dsn)
	require.NoError(b, err)
	defer func() { _ = db.Close(b.Context()) }()
	_, err = db.Exec(b.Context(), `INSERT INTO pgmq.q_orders (vt, message) SELECT clock_timestamp(), jsonb_build_object('order', i, 'amount', 12.5) FROM generate_series(1, $1::int) i`, b.N)
	require.NoError(b, err)
	_, err = db.Exec(b.Context(), `DROP TRIGGER trigger_notify_queue_insert_listeners ON pgmq.q_results`)
	require.NoError(b, err)
	body := []byte(`{"status": "completed", "success": true, "result": {"id": 1}}`)

	claimed := make(chan []queues.Delivery, 4)
	done := make(chan int)
	for range 2 {
		go func() {
			n := 0
			for batch := range claimed {
				settlements := make([]queues.Settlement, len(batch))
				for i, d := range batch {
					settlements[i] = queues.Settlement{Lease: d.Lease, Action: queues.Complete{Send: []queues.Outgoing{{Queue: "results", Body: body}}}}
				}
				for _, result := range broker.Settle(b.Context(), "orders", settlements) {
					if result.Status == queues.Settled {
						n++
					}
				}
			}
			done <- n
		}()
	}
	b.ResetTimer()
	start := time.Now()
	for left := b.N; left > 0; {
		batch, err := broker.Claim(b.Context(), queues.ClaimRequest{Queue: "orders", Limit: size, Lease: time.Minute})
		if err != nil || len(batch) == 0 {
			b.Errorf("claimed %d, %v", len(batch), err)
			break
		}
		left -= len(batch)
		claimed <- batch
	}
	close(claimed)
	settled := <-done + <-done
	b.ReportMetric(float64(settled)/time.Since(start).Seconds(), "messages/s")
	require.Equal(b, b.N, settled)
}

// benchBatch is how many messages one operation of the benchmarks below has.
const benchBatch = 500

// BenchmarkClaimDecode reads a batch of claimed messages of 200 bytes as the
// server sends them. The server has next to nothing to do; its time is in it.
func BenchmarkClaimDecode(b *testing.B) {
	db, err := pgx.Connect(b.Context(), pgmqtest.New(b, pgmqtest.V1_10))
	require.NoError(b, err)
	defer func() { _ = db.Close(b.Context()) }()
	req := queues.ClaimRequest{Queue: "orders", Limit: benchBatch}
	b.ReportAllocs()
	for b.Loop() {
		rows, err := db.Query(b.Context(), `SELECT n, 1::int4, statement_timestamp(), statement_timestamp(), statement_timestamp(), NULL::text, NULL::int4, $1::text
			FROM generate_series(1::bigint, $2) n`, strings.Repeat("x", 200), benchBatch)
		require.NoError(b, err)
		got, _, err := deliveries(rows, req, defaultInlineBodyLimit)
		require.NoError(b, err)
		require.Len(b, got, benchBatch)
	}
}

// BenchmarkSettleEncode makes the parameters of a batch's settlement and encodes
// them as they go to the server.
func BenchmarkSettleEncode(b *testing.B) {
	types := pgtype.NewMap()
	registerArrays(types)
	statement := &pgconn.StatementDescription{ParamOIDs: []uint32{pgtype.Int8ArrayOID, pgtype.Int4ArrayOID, pgtype.TimestamptzArrayOID}}
	members := make([]member, benchBatch)
	for i := range members {
		members[i] = member{at: i, lease: queues.Lease{Queue: "orders", ID: int64(i + 1), Epoch: 1, EnqueuedAt: time.Unix(1_700_000_000, 0)}}
	}
	var query pgx.ExtendedQueryBuilder
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, query.Build(types, statement, settleArgs(group{kind: kindComplete}, members, nil)))
	}
}
