package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Times are when messages were committed, or became due where that is later, and
// when they were settled, by the commits' own timestamps.
type Times struct{ Sent, Settled []time.Time }

// Querier is a connection, a pool or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Flow reads the times of a run.
func Flow(ctx context.Context, conn Querier) (t Times, err error) {
	read := func(sql string) ([]time.Time, error) {
		rows, err := conn.Query(ctx, sql)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[time.Time])
	}
	if t.Sent, err = read(`SELECT pg_xact_commit_timestamp(xmin) + delay FROM chaos.sent`); err == nil {
		t.Settled, err = read(`SELECT pg_xact_commit_timestamp(xmin) FROM pgmq.a_` + Queue + `
			UNION ALL SELECT pg_xact_commit_timestamp(xmin) FROM pgmq.q_` + DeadQueue)
	}
	if err != nil {
		return t, fmt.Errorf("read when messages were settled: %w", err)
	}
	return t, nil
}
