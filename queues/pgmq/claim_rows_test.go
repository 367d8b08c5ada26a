package pgmq

import (
	"testing"

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
	rows, err := db.Query(t.Context(), `SELECT n, 1::int4, statement_timestamp(), statement_timestamp(), statement_timestamp(), 1::int8, false, NULL::text, (1 / (3 - n))::text
		FROM generate_series(1::bigint, 5) n`)
	require.NoError(t, err)
	got, _, err := deliveries(rows, queues.ClaimRequest{Queue: "orders", Limit: 5})
	require.ErrorContains(t, err, "division by zero")
	require.Empty(t, got)
}
