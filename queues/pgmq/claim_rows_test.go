package pgmq

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// The rows of a statement that fails in the middle are no deliveries: the server
// has rolled their leases back.
func TestRowsOfAFailedClaimAreNotDelivered(t *testing.T) {
	t.Parallel()
	db, err := pgx.Connect(t.Context(), pgmqtest.New(t, pgmqtest.V1_10))
	require.NoError(t, err)
	defer func() { _ = db.Close(t.Context()) }()
	rows, err := db.Query(t.Context(), `SELECT n, 1::int4, statement_timestamp(), statement_timestamp(), statement_timestamp(), NULL::text, NULL::int4, (1 / (3 - n))::text
		FROM generate_series(1::bigint, 5) n`)
	require.NoError(t, err)
	got, _, err := deliveries(rows, queues.ClaimRequest{Queue: "orders", Limit: 5}, 1<<10)
	require.ErrorContains(t, err, "division by zero")
	require.Empty(t, got)
}

// Where statements are prepared the rows come in binary and are decoded by hand,
// and elsewhere as text: it makes no difference.
func TestRowsOfAClaimAreReadInBothFormats(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	large := fmt.Sprintf(`{"a": "%s"}`, strings.Repeat("ü", 700))
	b.send("orders", `{"n": 1}`, large, `[`+strings.Repeat("1e60000, ", 3)+`1]`, `{"zeros": "`+strings.Repeat("0", 5<<20)+`"}`)
	b.exec(`INSERT INTO pgmq.q_orders (vt, message, headers) VALUES (clock_timestamp(), NULL, '{"stephost": {"v": 1, "failures": 3}}'), (clock_timestamp(), '{}', to_jsonb(repeat('0', 300000)))`)
	known, err := b.layoutsOf(t.Context(), b.work, []string{"orders"})
	require.NoError(t, err)
	read := func(mode pgx.QueryExecMode, binary bool) []queues.Delivery {
		rows, err := b.db.Query(t.Context(), known["orders"].claim, mode, time.Minute.Microseconds(), defaultInlineBodyLimit, 10, beginning(), end())
		require.NoError(t, err)
		require.Equal(t, binary, decodable(rows), "%v", rows.FieldDescriptions())
		got, last, err := deliveries(rows, queues.ClaimRequest{Queue: "orders", Limit: 10}, defaultInlineBodyLimit)
		require.NoError(t, err)
		require.Len(t, got, 6)
		require.False(t, last.IsZero())
		for i := range got {
			require.Positive(t, got[i].Waited)
			require.WithinDuration(t, time.Now(), got[i].ClaimedAt, time.Hour)
			got[i].Waited, got[i].ClaimedAt = 0, time.Time{}
		}
		b.exec(`UPDATE pgmq.q_orders SET vt = enqueued_at, read_ct = read_ct - 1`)
		return got
	}
	got := read(pgx.QueryExecModeCacheStatement, true)
	require.Equal(t, []string{`{"n": 1}`, large, "", "", "", "{}"}, bodies(got))
	require.Equal(t, []bool{false, false, true, true, false, false}, []bool{got[0].Deferred, got[1].Deferred, got[2].Deferred, got[3].Deferred, got[4].Deferred, got[5].Deferred})
	require.Equal(t, 3, got[4].Record.Failures)
	require.True(t, got[5].HeadersTooLarge)
	require.ElementsMatch(t, got, read(pgx.QueryExecModeExec, false))
}

// A time that Go has none for is no reason to fail: the batch is leased already.
func TestClaimToleratesAnyTimes(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	b.exec(`INSERT INTO pgmq.q_orders (vt, message, enqueued_at) VALUES ('-infinity', '1', '-infinity'), ('4000-01-01 BC', '2', 'infinity')`)
	got := b.claim("orders", 2)
	require.Equal(t, []string{`1`, `2`}, bodies(got))
	for _, d := range got {
		require.Positive(t, d.Waited)
		b.mustEnd(d.Lease, queues.Complete{})
	}
}

func TestBodiesThatShareMemoryDoNotShareRoom(t *testing.T) {
	t.Parallel()
	var s slab
	first, second := s.keep([]byte("first")), s.keep([]byte("second"))
	require.Equal(t, len(first), cap(first))
	require.Same(t, &s.free[5], &second[0])
	large := s.keep(make([]byte, slabSize/4+1))
	require.LessOrEqual(t, cap(large), slabSize/2, "a large one has memory of its own")
	for range 1000 {
		kept := s.keep(make([]byte, slabSize/4))
		require.Len(t, kept, slabSize/4)
	}
	require.Equal(t, "first", string(first))
	empty := s.keep([]byte{})
	require.NotNil(t, empty)
}
