package pgmq

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// PruneDeadLetters begins a pass through a dead-letter queue that deletes what
// was dead-lettered longer than age ago. A message that somebody has leased or
// is replaying stays. The error is an ErrPruning when another host is at it.
func (b *Broker) PruneDeadLetters(ctx context.Context, queue string, age time.Duration) (*Pass, error) {
	ctx, cancel := context.WithTimeout(ctx, surveyTimeout+cancelGrace)
	defer cancel()
	p := &Pass{b: b, what: fmt.Sprintf("the dead letters of queue %q", queue), next: nextDead}
	err := b.withLayout(ctx, b.prune, queue, func(l *layout) error {
		return b.pruning(ctx, surveyTimeout, func(tx pgx.Tx) error {
			var until time.Time
			err := tx.QueryRow(ctx, `SELECT statement_timestamp() - $1::bigint * interval '1 microsecond'`, age.Microseconds()).Scan(&until)
			p.sql, p.args = pruneDeadSQL(l), []any{int64(0), until}
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("look through %s: %w", p.what, err)
	}
	return p, nil
}

// pruneDeadSQL looks at a chunk of the oldest ids, since pgmq has no index on
// enqueued_at, and ids are handed out in about that order.
func pruneDeadSQL(l *layout) string {
	forgotten := ""
	if !l.headers {
		forgotten = `, forgotten AS (DELETE FROM ` + bookkeepingTable + ` k USING gone WHERE k.queue = ` + quote(l.key) + ` AND k.msg_id = gone.msg_id AND k.enqueued_at = gone.enqueued_at)`
	}
	return `WITH head AS (SELECT msg_id, enqueued_at < $3::timestamptz AS old FROM ` + l.q + ` WHERE msg_id > $2::bigint ORDER BY msg_id LIMIT $1::int),
		doomed AS (SELECT m.msg_id FROM ` + l.q + ` m JOIN head h ON h.msg_id = m.msg_id
			WHERE h.old AND m.enqueued_at < $3::timestamptz AND m.vt <= statement_timestamp() FOR UPDATE OF m SKIP LOCKED),
		gone AS (DELETE FROM ` + l.q + ` m USING doomed d WHERE m.msg_id = d.msg_id RETURNING m.msg_id, m.enqueued_at)` + forgotten + `
		SELECT (SELECT count(*) FROM gone), count(*), coalesce(max(msg_id), 0), coalesce(bool_and(old), false) FROM head`
}

func nextDead(p *Pass, row pgx.Row, limit int) (deleted int64, more bool, err error) {
	var (
		looked, last int64
		old          bool
	)
	if err := row.Scan(&deleted, &looked, &last, &old); err != nil {
		return 0, false, err
	}
	p.args[0] = last
	return deleted, old && looked >= int64(limit), nil
}
