package pgmq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/queues"
)

// DeadMessage is a message in a dead-letter queue. Queue is that queue; where
// the message came from and why it is here is in the record.
type DeadMessage struct {
	ID         int64
	Queue      string
	Record     queues.Record
	EnqueuedAt time.Time
	Body       json.RawMessage
	Headers    json.RawMessage
}

// ErrNoMessage is wrapped when a queue has no message of the id asked for.
var ErrNoMessage = errors.New("no such message")

// ErrNoOrigin is wrapped when a message does not say where it came from:
// stephost did not dead-letter it.
var ErrNoOrigin = errors.New("the message has no origin to go back to")

// DeadList returns the oldest messages of a dead-letter queue.
func (b *Broker) DeadList(ctx context.Context, queue string, limit int) ([]DeadMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	var list []DeadMessage
	err := b.withLayout(ctx, b.work, queue, func(l *layout) (err error) {
		list, err = readDead(ctx, b.work, l, `ORDER BY m.msg_id LIMIT $1`, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters of %q: %w", queue, err)
	}
	return list, nil
}

// DeadShow returns one message of a dead-letter queue. The error is an
// ErrNoMessage when there is none.
func (b *Broker) DeadShow(ctx context.Context, queue string, id int64) (DeadMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	var list []DeadMessage
	err := b.withLayout(ctx, b.work, queue, func(l *layout) (err error) {
		list, err = readDead(ctx, b.work, l, `WHERE m.msg_id = $1`, id)
		return err
	})
	if err == nil && len(list) == 0 {
		err = ErrNoMessage
	}
	if err != nil {
		return DeadMessage{}, fmt.Errorf("show dead letter %d of %q: %w", id, queue, err)
	}
	return list[0], nil
}

func readDead(ctx context.Context, db querier, l *layout, which string, args ...any) ([]DeadMessage, error) {
	headers, record, join := "m.headers::text", "(m.headers -> '"+recordKey+"')::text", ""
	if !l.headers {
		headers, record = "NULL::text", "k.record::text"
		join = ` LEFT JOIN ` + bookkeepingTable + ` k ON k.queue = ` + quote(l.key) + ` AND k.msg_id = m.msg_id AND k.enqueued_at = m.enqueued_at`
	}
	rows, err := db.Query(ctx, `SELECT m.msg_id, m.enqueued_at, m.message::text, `+headers+`, `+record+` FROM `+l.q+` m`+join+` `+which, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (DeadMessage, error) {
		var body, headers, record []byte
		d := DeadMessage{Queue: l.queue}
		err := row.Scan(&d.ID, &d.EnqueuedAt, &body, &headers, &record)
		d.Body, d.Headers, d.Record = body, headers, decodeRecord(record)
		return d, err
	})
}

// DeadReplay moves messages back to the queues that they came from, all in one
// transaction. The failure budget starts afresh; the history and the origin,
// and with it the idempotency key, stay. replayed are the ids that were moved,
// sorted; one that is gone already, since someone else replayed it, is left
// out. A message without an origin, or whose origin was dropped, is an error
// and nothing is moved.
func (b *Broker) DeadReplay(ctx context.Context, queue string, ids []int64) (replayed []int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	err = b.withLayout(ctx, b.work, queue, func(dead *layout) error {
		r, err := b.prepareReplay(ctx, dead, ids)
		if err != nil {
			return err
		}
		return retryTransient(ctx, func() error {
			replayed = nil
			return pgx.BeginFunc(ctx, b.work, func(tx pgx.Tx) (err error) {
				replayed, err = r.run(ctx, tx, ids)
				return err
			})
		})
	})
	if err != nil {
		return nil, fmt.Errorf("replay dead letters of %q: %w", queue, err)
	}
	return replayed, nil
}

// replay knows everything beforehand that its transaction would need another
// connection for.
type replay struct {
	b       *Broker
	dead    *layout
	origins map[string]*layout
	family  family
}

func (b *Broker) prepareReplay(ctx context.Context, dead *layout, ids []int64) (*replay, error) {
	r := &replay{b: b, dead: dead}
	list, err := readDead(ctx, b.work, dead, `WHERE m.msg_id = ANY($1::bigint[])`, ids)
	if err != nil {
		return nil, err
	}
	var origins []string
	for _, d := range list {
		if d.Record.Origin != nil {
			origins = append(origins, d.Record.Origin.Queue)
		}
	}
	if r.origins, err = b.layoutsOf(ctx, b.work, origins); err != nil {
		return nil, err
	}
	r.family, err = b.announce.current(ctx, b)
	return r, err
}

func (r *replay) run(ctx context.Context, tx pgx.Tx, ids []int64) ([]int64, error) {
	list, err := readDead(ctx, tx, r.dead, `WHERE m.msg_id = ANY($1::bigint[]) ORDER BY m.msg_id FOR UPDATE OF m`, ids)
	if err != nil {
		return nil, err
	}
	var replayed []int64
	for _, d := range list {
		if d.Record.Origin == nil {
			return nil, fmt.Errorf("message %d: %w", d.ID, ErrNoOrigin)
		}
		origin := r.origins[d.Record.Origin.Queue]
		if origin == nil {
			return nil, fmt.Errorf("message %d: %w", d.ID, &queues.MissingQueueError{Queue: d.Record.Origin.Queue})
		}
		if err := r.move(ctx, tx, origin, d); err != nil {
			return nil, fmt.Errorf("message %d: %w", d.ID, err)
		}
		replayed = append(replayed, d.ID)
	}
	return replayed, nil
}

func (r *replay) move(ctx context.Context, tx pgx.Tx, origin *layout, d DeadMessage) error {
	dead := r.dead
	fresh := d.Record
	fresh.Failures, fresh.Crashes, fresh.Suspicion, fresh.Accounted, fresh.Dead = 0, 0, 0, 0, nil
	fresh.Replays++
	record, err := encodeRecord(fresh)
	if err != nil {
		return err
	}
	columns, values, args := "vt, message", "statement_timestamp(), m.message", []any{d.ID}
	if origin.headers {
		old := "NULL::jsonb"
		if dead.headers {
			old = "m.headers"
		}
		columns, values, args = columns+", headers", values+", "+withRecord(old, "$2::text::jsonb"), append(args, record)
	}
	sql := `INSERT INTO ` + origin.q + ` (` + columns + `) SELECT ` + values + ` FROM ` + dead.q + ` m WHERE m.msg_id = $1 RETURNING msg_id, enqueued_at`
	var (
		id       int64
		enqueued time.Time
	)
	if err := tx.QueryRow(ctx, sql, args...).Scan(&id, &enqueued); err != nil {
		return err
	}
	if !origin.headers {
		if _, err := tx.Exec(ctx, `INSERT INTO `+bookkeepingTable+` (queue, msg_id, enqueued_at, record) VALUES ($1, $2, $3, $4::text::jsonb)`, origin.key, id, enqueued, record); err != nil {
			return err
		}
	}
	if !dead.headers {
		if _, err := tx.Exec(ctx, `DELETE FROM `+bookkeepingTable+` WHERE queue = $1 AND msg_id = $2 AND enqueued_at = $3`, dead.key, d.ID, d.EnqueuedAt); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, `DELETE FROM `+dead.q+` WHERE msg_id = $1`, d.ID); err != nil {
		return err
	}
	if !r.family.tasker {
		return nil
	}
	_, err = tx.Exec(ctx, `SELECT `+taskerNotice(origin, r.b.opts.NamespaceOf(origin.queue), "$1::bigint", "0"), id)
	return err
}
