package pgmq

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/stephost/stephost/queues"
)

// The bounds of the headers that a claim looks into, in bytes. Headers above are
// the producer's mistake, and a message that has them is not for a handler.
const (
	// maxStoredHeaders is how they are stored, maybe compressed: reading more
	// would cost the others of the batch too much.
	maxStoredHeaders = 1 << 20
	// maxRecordText is the bookkeeping in them, as text: the host holds it.
	maxRecordText = 512 << 10
	// maxOddHeaders is headers, as text, that are no JSON object: they become part
	// of the bookkeeping.
	maxOddHeaders = 256 << 10
)

// asyncCommit is true, and lets the transaction commit without waiting for the
// disk. A lease that a crash undoes is a redelivery and no loss. It is part of
// the statement, so that it costs no round trip and leaves nothing behind.
const asyncCommit = `(SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL`

// claimSQL leases in the order of vt, for which pgmq has an index; by msg_id
// every claim would walk past all delayed messages. The ids go through an array
// because the planner takes it for a few rows and uses the primary key whatever
// it knows about the table. A body is turned into text once, and only when it
// is stored in less than the limit: a giant is never read. The OFFSETs keep the
// steps apart, so that a text which turns out too long is dropped row by row,
// before a join could collect hundreds of them.
//
// Parameters: lease in microseconds, body limit, then limit, least vt and its end,
// or id.
func claimSQL(l *layout, one, careful bool) string {
	which := `vt <= statement_timestamp() AND vt >= (SELECT $4::timestamptz) AND vt < (SELECT $5::timestamptz) AND ` + asyncCommit + ` ORDER BY vt LIMIT (SELECT $3::bigint)`
	if one {
		which = `msg_id = $3::bigint AND vt <= statement_timestamp() AND ` + asyncCommit
	}
	set, join := "", ""
	record := fmt.Sprintf(`CASE WHEN pg_column_size(c.headers) <= %d THEN (c.headers -> '`+recordKey+`')::text END`, maxStoredHeaders)
	long := ""
	if careful {
		ours := `c.headers -> '` + recordKey + `'`
		record = fmt.Sprintf(`CASE WHEN pg_column_size(c.headers) <= %d THEN CASE WHEN NOT `+hasLongNumbers(ours)+` THEN (`+ours+`)::text END END`, maxStoredHeaders)
		long = ` WHEN ` + hasLongNumbers(ours) + ` THEN true WHEN jsonb_typeof(c.headers) <> 'object' AND ` + hasLongNumbers("c.headers") + ` THEN true`
	}
	large := fmt.Sprintf(`CASE WHEN pg_column_size(c.headers) > %d THEN true`+long+`
		WHEN jsonb_typeof(c.headers) <> 'object' THEN octet_length(c.headers::text) > %d ELSE false END`, maxStoredHeaders, maxOddHeaders)
	columns := ", m.headers"
	if l.lastRead {
		set = ", last_read_at = statement_timestamp()"
	}
	if !l.headers {
		columns = ""
		record, large = "k.record::text", "false"
		join = ` LEFT JOIN ` + bookkeepingTable + ` k ON k.queue = ` + quote(l.key) + ` AND k.msg_id = c.msg_id AND k.enqueued_at = c.enqueued_at`
	}
	return `WITH picked AS MATERIALIZED (
		SELECT msg_id, vt FROM ` + l.q + ` WHERE ` + which + ` FOR UPDATE SKIP LOCKED
	), claimed AS (
		UPDATE ` + l.q + ` AS m
		SET vt = statement_timestamp() + $1::bigint * interval '1 microsecond', read_ct = m.read_ct + 1` + set + `
		WHERE m.msg_id = ANY(ARRAY(SELECT msg_id FROM picked))
		RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.message` + columns + `
	)
	SELECT d.msg_id, d.read_ct, d.enqueued_at, p.vt, statement_timestamp(), d.stored, d.large, d.record, d.body
	FROM (SELECT t.msg_id, t.read_ct, t.enqueued_at, t.stored, t.large OR coalesce(octet_length(t.record) > ` + fmt.Sprint(maxRecordText) + `, false) AS large,
	             CASE WHEN octet_length(t.record) <= ` + fmt.Sprint(maxRecordText) + ` THEN t.record END AS record,
	             CASE WHEN octet_length(t.body_text) <= $2::bigint THEN t.body_text END AS body
	      FROM (SELECT c.msg_id, c.read_ct, c.enqueued_at, pg_column_size(c.message) AS stored, ` + large + ` AS large, ` + record + ` AS record,
	                   CASE WHEN pg_column_size(c.message) <= $2::bigint THEN c.message::text END AS body_text
	            FROM claimed c` + join + ` OFFSET 0) t OFFSET 0) d
	JOIN picked p USING (msg_id)`
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// Claim implements queues.Broker.
func (b *Broker) Claim(ctx context.Context, req queues.ClaimRequest) ([]queues.Delivery, error) {
	if req.Limit <= 0 && req.ID <= 0 {
		return nil, fmt.Errorf("claim from queue %q: limit is %d, it must be positive", req.Queue, req.Limit)
	}
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	var got []queues.Delivery
	err := b.withLayout(ctx, b.work, req.Queue, func(l *layout) (err error) {
		got, err = b.claim(ctx, l, req)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim from queue %q: %w", req.Queue, err)
	}
	slices.SortFunc(got, func(a, b queues.Delivery) int { return compare(a.ID, b.ID) })
	return got, nil
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (b *Broker) claim(ctx context.Context, l *layout, req queues.ClaimRequest) ([]queues.Delivery, error) {
	if req.ID > 0 {
		got, _, err := b.lease(ctx, l, true, req, req.ID)
		return got, err
	}
	in := b.floors.start(l.key, req.Sweep)
	if in.kept {
		return b.claimAbove(ctx, l, req, in)
	}
	began := b.floors.now()
	got, last, err := b.lease(ctx, l, false, req, int64(req.Limit), in.low, end())
	if err != nil {
		return nil, err
	}
	swept := in.whole
	if !swept && len(got) < req.Limit {
		// The run has ended, unless something older became visible late.
		rest := req
		rest.Limit -= len(got)
		swept = true
		more, lastMore, err := b.lease(ctx, l, false, rest, int64(rest.Limit), beginning(), end())
		if err != nil {
			// The first part is leased; its messages must not wait for that.
			b.opts.Logger.Debug("sweep after a claim failed", "queue", req.Queue, "error", err)
		}
		got = append(got, more...)
		if len(more) > 0 {
			last = lastMore
		}
	}
	full := len(got) == req.Limit
	b.floors.ended(l.key, full, swept, last)
	if swept && b.floors.worthWeighing(l.key, b.floors.now().Sub(began), len(got)) {
		b.weigh(ctx, l, began, full, last)
	}
	return got, nil
}

// leaseBodies runs a claim statement, with bodies up to a size.
func (b *Broker) leaseBodies(ctx context.Context, sql string, req queues.ClaimRequest, bodyLimit int, args ...any) (got []queues.Delivery, last time.Time, err error) {
	rows, err := b.work.Query(ctx, sql, append([]any{req.Lease.Microseconds(), bodyLimit}, args...)...)
	if err != nil {
		return nil, last, err
	}
	return deliveries(rows, req)
}

// deliveries reads the rows of a claim statement, and the latest vt among them.
func deliveries(rows pgx.Rows, req queues.ClaimRequest) (got []queues.Delivery, last time.Time, err error) {
	defer rows.Close()
	var (
		id                    int64
		epoch                 int32
		enqueued, vt, claimed time.Time
		stored                pgtype.Int8
		large                 bool
		record, body          pgtype.DriverBytes
	)
	into := []any{&id, &epoch, &enqueued, &vt, &claimed, &stored, &large, &record, &body}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, last, err
		}
		d := queues.Delivery{
			Lease:     queues.Lease{Queue: req.Queue, ID: id, Epoch: queues.Epoch(epoch), EnqueuedAt: enqueued},
			ClaimedAt: claimed,
			Waited:    claimed.Sub(vt),
			Record:    claimedRecord(record, queues.Epoch(epoch)),

			HeadersTooLarge: large,
		}
		switch {
		case body != nil:
			d.Body = append([]byte(nil), body...)
			d.Size = int64(len(body))
		case stored.Valid:
			d.Deferred, d.Size = true, stored.Int64
		}
		if vt.After(last) {
			last = vt
		}
		if got == nil {
			got = make([]queues.Delivery, 0, min(req.Limit, 1024))
		}
		got = append(got, d)
	}
	// A statement that fails after its first rows has leased nothing.
	if err := rows.Err(); err != nil {
		return nil, last, err
	}
	return got, last, nil
}
