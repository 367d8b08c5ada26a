package pgmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// ErrPruning is wrapped when another host prunes this database at the moment.
var ErrPruning = errors.New("another host prunes this database")

// Bounds of one statement of a pass. Deleting is to slow nobody: what takes long
// is given up, and whoever holds a lock is not waited for.
const (
	pruneLockTimeout = 200 * time.Millisecond
	pruneTimeout     = 10 * time.Second
	// surveyTimeout is for the look beforehand, which may count millions of rows.
	surveyTimeout = 60 * time.Second
)

// Pass is one go through a queue's archive or dead letters that deletes what is
// beyond what is kept. What is to go was decided when the pass began, by the
// database's clock; what comes later is for the next pass. Rows that somebody
// has locked are passed over. It is not safe for concurrent use.
type Pass struct {
	b    *Broker
	what string
	sql  string // nothing to do: empty
	args []any
	// next takes what a chunk returned, and tells whether there may be more.
	next func(p *Pass, row pgx.Row, limit int) (deleted int64, more bool, err error)
}

// Delete deletes up to limit rows in a transaction of its own. more tells
// whether there is something left to do for this pass. The error is an
// ErrPruning when another host is at it: one at a time is enough. The
// transaction commits asynchronously: what a crash of the server brings back is
// deleted by a later pass.
func (p *Pass) Delete(ctx context.Context, limit int) (deleted int64, more bool, err error) {
	if p.sql == "" {
		return 0, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, pruneTimeout+cancelGrace)
	defer cancel()
	err = p.b.pruning(ctx, pruneTimeout, func(tx pgx.Tx) error {
		deleted, more, err = p.next(p, tx.QueryRow(ctx, p.sql, append([]any{limit}, p.args...)...), limit)
		return err
	})
	if err != nil {
		return 0, false, fmt.Errorf("prune %s: %w", p.what, p.b.explain(err))
	}
	return deleted, more, nil
}

// pruning runs op in a transaction with the bounds of a pass, while no other
// host does. All of it ends with the transaction, so that a pooler may stand
// between.
func (b *Broker) pruning(ctx context.Context, timeout time.Duration, op func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, b.prune, func(tx pgx.Tx) error {
		var mine bool
		err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock(hashtext('stephost.prune')),
			set_config('lock_timeout', $1::text, true), set_config('statement_timeout', $2::text, true), set_config('synchronous_commit', 'off', true),
			set_config('max_parallel_workers_per_gather', '0', true)`,
			milliseconds(pruneLockTimeout), milliseconds(timeout)).Scan(&mine, nil, nil, nil, nil)
		if err != nil {
			return err
		}
		if !mine {
			return ErrPruning
		}
		return op(tx)
	})
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// everything is where a pass starts.
func everything() pgtype.Timestamptz {
	return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
}
