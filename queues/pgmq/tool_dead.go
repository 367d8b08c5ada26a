package pgmq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/queues"
)

// DeadMessage is a message in a dead-letter queue. Queue is that queue; where
// the message came from and why it is here is in the record, which is empty
// when stephost did not put it here.
type DeadMessage struct {
	ID         int64
	Queue      string
	Record     queues.Record
	EnqueuedAt time.Time
	// VisibleAt is when a consumer of the dead-letter queue may read it; Leased
	// says that this is in the future, so that one most likely has it in hand.
	// ReadCount is how often it was read here.
	VisibleAt time.Time
	Leased    bool
	ReadCount int32
	// Body and Headers are nil when they are SQL NULL, and Body when the reader
	// leaves large ones out; BodyBytes is the body's size as it is stored, zero
	// for NULL.
	Body      json.RawMessage
	BodyBytes int64
	Headers   json.RawMessage
}

// ErrNoMessage is wrapped when a queue has no message of the id asked for.
var ErrNoMessage = errors.New("no such message")

// DeadShow returns one message of a dead-letter queue, whole. The error is an
// ErrNoMessage when there is none.
func (b *Broker) DeadShow(ctx context.Context, queue string, id int64) (DeadMessage, error) {
	page, err := b.deadPage(ctx, queue, deadPage{which: DeadIDs(id), limit: 1})
	if err == nil && len(page) == 0 {
		err = ErrNoMessage
	}
	if err != nil {
		return DeadMessage{}, fmt.Errorf("show dead letter %d of %q: %w", id, queue, err)
	}
	return page[0], nil
}

// listedBodyLimit is the largest body that a list has with it: 64 KiB.
const listedBodyLimit = 64 << 10

// DeadList returns the chosen messages of a dead-letter queue whose ids are
// above after, by id, at most limit of them. Bodies above 64 KiB are left out.
func (b *Broker) DeadList(ctx context.Context, queue string, which DeadFilter, after int64, limit int) ([]DeadMessage, error) {
	list, err := b.deadPage(ctx, queue, deadPage{which: which, after: after, limit: limit, bodyLimit: listedBodyLimit})
	if err != nil {
		return nil, fmt.Errorf("list dead letters of %q: %w", queue, err)
	}
	return list, nil
}

// Bounds of what DeadEach reads at a time.
const (
	eachPage  = 500
	eachBytes = 4 << 20
)

// DeadEach calls use for each of the chosen messages that are in a dead-letter
// queue when it begins, by id and whole. It reads a few at a time, so it takes
// little memory however many there are, and holds no transaction while use
// runs. An error of use ends it.
func (b *Broker) DeadEach(ctx context.Context, queue string, which DeadFilter, use func(DeadMessage) error) error {
	found, err := b.DeadCount(ctx, queue, which)
	if err != nil {
		return err
	}
	page := deadPage{which: which, through: found.Last, limit: eachPage, bytes: eachBytes}
	for page.after < page.through {
		list, err := b.deadPage(ctx, queue, page)
		if err != nil {
			return fmt.Errorf("read dead letters of %q: %w", queue, err)
		}
		if len(list) == 0 {
			return nil
		}
		for _, message := range list {
			if err := use(message); err != nil {
				return err
			}
		}
		page.after = list[len(list)-1].ID
	}
	return nil
}

// DeadCount is how many messages a filter chooses, and the largest of their
// ids.
type DeadCount struct {
	Count, Last int64
}

// DeadCount counts the chosen messages of a dead-letter queue.
func (b *Broker) DeadCount(ctx context.Context, queue string, which DeadFilter) (DeadCount, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	var found DeadCount
	err := b.withLayout(ctx, b.work, queue, func(l *layout) error {
		source := deadSourceOf(l)
		var args arguments
		return which.explain(b.work.QueryRow(ctx, `SELECT count(*), coalesce(max(m.msg_id), 0) FROM `+source.from+` WHERE `+which.sql(source, &args), args...).
			Scan(&found.Count, &found.Last))
	})
	if err != nil {
		return DeadCount{}, fmt.Errorf("count dead letters of %q: %w", queue, err)
	}
	return found, nil
}

// deadPage is a piece of a dead-letter queue.
type deadPage struct {
	which DeadFilter
	// after and through bound the ids; through 0: no bound.
	after, through int64
	limit          int
	// bodyLimit leaves larger bodies out; bytes ends the page early, after one
	// message at least. 0: no bound.
	bodyLimit, bytes int64
}

func (b *Broker) deadPage(ctx context.Context, queue string, page deadPage) ([]DeadMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	var list []DeadMessage
	err := b.withLayout(ctx, b.work, queue, func(l *layout) error {
		sql, args := page.sql(deadSourceOf(l))
		rows, err := b.work.Query(ctx, sql, args...)
		if err != nil {
			return page.which.explain(err)
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (DeadMessage, error) {
			var body, headers, record []byte
			d := DeadMessage{Queue: queue}
			err := row.Scan(&d.ID, &d.ReadCount, &d.EnqueuedAt, &d.VisibleAt, &d.Leased, &record, &d.BodyBytes, &body, &headers)
			d.Body, d.Headers, d.Record = body, headers, decodeRecord(record)
			return d, err
		})
		return page.which.explain(err)
	})
	return list, err
}

// sql sums up the stored sizes before any body is turned into text, so that
// what does not fit is not read.
func (p deadPage) sql(source deadSource) (string, []any) {
	var args arguments
	where := p.which.sql(source, &args) + " AND m.msg_id > " + args.add(p.after, "bigint")
	if p.through > 0 {
		where += " AND m.msg_id <= " + args.add(p.through, "bigint")
	}
	body, fits := "p.message::text", "true"
	if p.bodyLimit > 0 {
		limit := args.add(p.bodyLimit, "bigint")
		body = `CASE WHEN p.stored <= ` + limit + ` THEN ` + boundedText("p.message", limit) + ` END`
	}
	if p.bytes > 0 {
		fits = "p.total <= " + args.add(p.bytes, "bigint") + " OR p.total = p.stored"
	}
	return `SELECT p.msg_id, p.read_ct, p.enqueued_at, p.vt, p.vt > statement_timestamp(), p.record, p.stored, ` + body + `, CASE WHEN NOT (` + hasLongNumbers("p.headers") + `) THEN p.headers::text END
		FROM (SELECT c.*, sum(c.stored) OVER (ORDER BY c.msg_id) AS total
		      FROM (SELECT m.msg_id, m.read_ct, m.enqueued_at, m.vt, m.message, coalesce(pg_column_size(m.message), 0)::bigint AS stored,
		                   ` + source.headers + ` AS headers, ` + source.recordText() + ` AS record
		            FROM ` + source.from + ` WHERE ` + where + ` ORDER BY m.msg_id LIMIT ` + args.add(p.limit, "bigint") + `) c) p
		WHERE ` + fits + ` ORDER BY p.msg_id`, args
}
