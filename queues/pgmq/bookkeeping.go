package pgmq

import (
	"context"
	"fmt"
	"sync"
)

// bookkeepingTable stands in for the headers column that pgmq had not before
// 1.5. Rows leave with the settlement of their message.
const (
	bookkeepingSchema = "stephost"
	bookkeepingTable  = bookkeepingSchema + ".bookkeeping"
)

type bookkeeping struct {
	mu    sync.Mutex
	ready bool
}

// EnsureBookkeeping creates the side table for queues without a headers column
// (pgmq before 1.5), if it is not there. The broker calls it when it meets such
// a queue; an operator whose service user may not create schemas calls it once
// as another user.
func (b *Broker) EnsureBookkeeping(ctx context.Context) error {
	b.bookkeeping.mu.Lock()
	defer b.bookkeeping.mu.Unlock()
	if b.bookkeeping.ready {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	if err := b.createBookkeeping(ctx); err != nil {
		return fmt.Errorf("create %s for queues without headers: %w", bookkeepingTable, b.explainCreation(err))
	}
	b.bookkeeping.ready = true
	return nil
}

func (b *Broker) createBookkeeping(ctx context.Context) error {
	var exists bool
	if err := b.work.QueryRow(ctx, `SELECT to_regclass('`+bookkeepingTable+`') IS NOT NULL`).Scan(&exists); err != nil || exists {
		return err
	}
	tx, err := b.work.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	// IF NOT EXISTS alone races with another host: both see nothing, one fails.
	for _, sql := range []string{
		`SELECT pg_advisory_xact_lock(hashtext('stephost.bookkeeping'))`,
		`CREATE SCHEMA IF NOT EXISTS stephost`,
		`CREATE TABLE IF NOT EXISTS ` + bookkeepingTable + ` (
			queue       text        NOT NULL,
			msg_id      bigint      NOT NULL,
			enqueued_at timestamptz NOT NULL,
			record      jsonb       NOT NULL,
			PRIMARY KEY (queue, msg_id, enqueued_at))`,
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}
