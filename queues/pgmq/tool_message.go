package pgmq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/queues"
)

// Send puts messages on a queue, all or none, and returns their ids in the
// order given. Outgoing.Queue is ignored. Headers need a pgmq of 1.5 or newer.
func (b *Broker) Send(ctx context.Context, queue string, batch []queues.Outgoing) ([]int64, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	out, headers := outgoing{plain: true}, false
	for i, o := range batch {
		out.add(int64(i), o)
		headers = headers || o.Headers != nil
	}
	var ids []int64
	err := b.withLayout(ctx, b.work, queue, func(l *layout) error {
		if headers && !l.headers {
			return errors.New("its table has no headers column, which pgmq has since 1.5")
		}
		f, err := b.announce.current(ctx, b)
		if err != nil {
			return err
		}
		ids, err = b.send(ctx, l, f, out)
		return err
	})
	if code := sqlState(err); strings.HasPrefix(code, "22") || code == "54001" {
		err = refusalOf("what is sent", err)
	}
	if err != nil {
		return nil, fmt.Errorf("send to queue %q: %w", queue, err)
	}
	return ids, nil
}

func (b *Broker) send(ctx context.Context, l *layout, f family, out outgoing) ([]int64, error) {
	if !f.tasker && out.plain {
		// A tenth cheaper for the server.
		rows, err := b.work.Query(ctx, `INSERT INTO `+l.q+` (vt, message) SELECT statement_timestamp(), o.body::jsonb
			FROM unnest($1::text[]) WITH ORDINALITY AS o(body, place) ORDER BY o.place RETURNING msg_id`, out.bodies)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[int64])
	}
	columns, values := "vt, message", "statement_timestamp() + o.delay * interval '1 microsecond', o.body::jsonb"
	if l.headers {
		columns, values = columns+", headers", values+", o.headers::jsonb"
	}
	sql := `INSERT INTO ` + l.q + ` (` + columns + `) SELECT ` + values + `
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) AS o(place, body, headers, delay) ORDER BY o.place
		RETURNING msg_id`
	if f.tasker {
		told := taskerNotice(l, b.opts.NamespaceOf(l.queue), "msg_id", "greatest(0, extract(epoch FROM vt - statement_timestamp()))")
		sql = `WITH sent AS (` + sql + `, vt), told AS MATERIALIZED (SELECT msg_id, ` + told + ` FROM sent)
			SELECT msg_id FROM told ORDER BY msg_id`
	}
	rows, err := b.work.Query(ctx, sql, out.ords, out.bodies, out.headers, out.delays)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// Peeked is a message as it lies in its queue.
type Peeked struct {
	ID                    int64
	ReadCount             int32
	EnqueuedAt, VisibleAt time.Time
	Body, Headers         json.RawMessage
}

// Peek returns the first messages of a queue by id, visible or not, and leases
// nothing.
func (b *Broker) Peek(ctx context.Context, queue string, limit int) ([]Peeked, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	var peeked []Peeked
	err := b.withLayout(ctx, b.work, queue, func(l *layout) error {
		headers := "NULL::text"
		if l.headers {
			headers = "headers::text"
		}
		rows, err := b.work.Query(ctx, `SELECT msg_id, read_ct, enqueued_at, vt, message::text, `+headers+` FROM `+l.q+` ORDER BY msg_id LIMIT $1`, limit)
		if err != nil {
			return err
		}
		peeked, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p Peeked, err error) {
			var body, headers []byte
			err = row.Scan(&p.ID, &p.ReadCount, &p.EnqueuedAt, &p.VisibleAt, &body, &headers)
			p.Body, p.Headers = body, headers
			return p, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("peek at queue %q: %w", queue, err)
	}
	return peeked, nil
}
