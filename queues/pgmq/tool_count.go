package pgmq

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/queues"
)

// QueueCount is how many messages a queue has.
type QueueCount struct {
	Queue string
	// Messages counts them, visible or not, up to the limit.
	Messages int64
	// Err says why they could not be counted. A queue that does not exist is a
	// queues.MissingQueueError.
	Err error
}

// CountMessages counts the messages of each queue up to limit, and so costs no
// more on a huge one. It takes few statements on one connection. The counts are in
// the order of the names; the error is for a database that does not answer.
func (b *Broker) CountMessages(ctx context.Context, names []string, limit int64) ([]QueueCount, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	conn, err := b.work.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("count messages: %w", connectError(b.work.Config().ConnConfig, err))
	}
	defer conn.Release()
	found, err := readLayouts(ctx, conn, names)
	if err != nil {
		return nil, fmt.Errorf("count messages: %w", b.explain(err))
	}
	counts := make([]QueueCount, len(names))
	var present []*QueueCount
	for i, name := range names {
		counts[i].Queue = name
		if found[name] == nil {
			counts[i].Err = &queues.MissingQueueError{Queue: name}
			continue
		}
		present = append(present, &counts[i])
	}
	ask := func(ctx context.Context, some []*QueueCount, lockTimeout time.Duration) error {
		var sql strings.Builder
		for i, c := range some {
			if i > 0 {
				sql.WriteString(" UNION ALL ")
			}
			fmt.Fprintf(&sql, `SELECT %d, (SELECT count(*) FROM (SELECT 1 FROM %s LIMIT $1::bigint) c)`, i, found[c.Queue].q)
		}
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, inChunk, fmt.Sprintf("%dms", lockTimeout.Milliseconds())); err != nil {
				return err
			}
			rows, err := tx.Query(ctx, sql.String(), limit)
			if err != nil {
				return err
			}
			var i int
			var n int64
			_, err = pgx.ForEachRow(rows, []any{&i, &n}, func() error {
				some[i].Messages = n
				return nil
			})
			return err
		})
	}
	err = inChunks(ctx, present, ask, func(c *QueueCount, err error) {
		if sqlState(err) == "42P01" {
			c.Err = &queues.MissingQueueError{Queue: c.Queue}
			return
		}
		c.Err = fmt.Errorf("count the messages of queue %q: %w", c.Queue, b.explain(err))
	})
	if err != nil {
		return nil, fmt.Errorf("count messages: %w", b.explain(err))
	}
	return counts, nil
}
