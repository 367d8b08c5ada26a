package drain

import (
	"encoding/binary"
	"fmt"
	"sort"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
)

// The statements have the shape of the host's, without what only a host needs:
// its bookkeeping in the headers, the limits on bodies, emitted messages.

// batch is what one claim has leased.
type batch struct {
	ids      []int64 // ascending
	epochs   []int32
	enqueued []time.Time
	bytes    int
	// floor is the newest time at which one of the messages had become visible. The
	// next claim begins there, so that it need not step over the rows which the
	// ones before have moved.
	floor time.Time
}

// claimStatement leases in the order of vt, and without waiting for the disk: a
// lease that a crash undoes is a redelivery. It finds the rows by an array of their
// places, which is faster than joining them as the host does, who wants to know of
// each row how long it had been visible.
const claimStatement = `WITH picked AS MATERIALIZED (
		SELECT ctid AS place, vt FROM ` + table + ` WHERE vt <= statement_timestamp() AND vt >= $2::timestamptz%s
		ORDER BY vt LIMIT $1::bigint FOR UPDATE SKIP LOCKED
	)
	UPDATE ` + table + ` AS m SET vt = (SELECT statement_timestamp() + interval '30 seconds'), read_ct = m.read_ct + 1
	WHERE m.ctid = ANY(ARRAY(SELECT place FROM picked))
	RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.message, (SELECT max(vt) FROM picked)`

func (w *sqlWorker) claimSQL() string {
	switch w.Shape {
	case loop:
		return `SELECT msg_id, read_ct, enqueued_at, message::text, vt FROM pgmq.read($1::text, $2::int, $3::int)`
	case pipeline:
		// The transaction settles as well, so it must wait for the disk.
		return fmt.Sprintf(claimStatement, "")
	}
	return fmt.Sprintf(claimStatement, ` AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL`)
}

func (w *sqlWorker) claimArgs() []any {
	if w.Shape == loop {
		return []any{hostproc.Queue, 30, w.Batch}
	}
	return []any{w.Batch, w.batch.floor}
}

// claimed reads what was claimed, in binary and without copying: whoever does
// nothing with a body need not keep it.
func (w *sqlWorker) claimed(rows pgx.Rows, err error) error {
	if err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	defer rows.Close()
	b := &w.batch
	b.ids, b.epochs, b.enqueued = b.ids[:0], b.epochs[:0], b.enqueued[:0]
	for rows.Next() {
		raw := rows.RawValues()
		b.ids = append(b.ids, int64(binary.BigEndian.Uint64(raw[0])))       //nolint:gosec // as PostgreSQL writes it
		b.epochs = append(b.epochs, int32(binary.BigEndian.Uint32(raw[1]))) //nolint:gosec // as PostgreSQL writes it
		b.enqueued = append(b.enqueued, timestamp(raw[2]))
		b.bytes += len(raw[3])
		b.floor = timestamp(raw[4])
	}
	if len(b.ids) < w.Batch {
		// Somebody may have become visible behind it.
		b.floor = time.Time{}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	if !sort.IsSorted(b) {
		sort.Sort(b)
	}
	return nil
}

func (b *batch) Len() int           { return len(b.ids) }
func (b *batch) Less(i, j int) bool { return b.ids[i] < b.ids[j] }

func (b *batch) Swap(i, j int) {
	b.ids[i], b.ids[j] = b.ids[j], b.ids[i]
	b.epochs[i], b.epochs[j] = b.epochs[j], b.epochs[i]
	b.enqueued[i], b.enqueued[j] = b.enqueued[j], b.enqueued[i]
}

// timestamp decodes a timestamptz: microseconds since 2000.
func timestamp(raw []byte) time.Time {
	const year2000 = 946_684_800 * 1_000_000
	return time.UnixMicro(year2000 + int64(binary.BigEndian.Uint64(raw))) //nolint:gosec // as PostgreSQL writes it
}

// settleSQL ends what still has the lease that was claimed. Like the host's it finds a
// message's place among the ascending ids by bisection.
func (w *sqlWorker) settleSQL() string {
	if w.Shape == loop {
		return `SELECT pgmq.archive($1::text, $2::bigint[])`
	}
	const place = `[width_bucket(m.msg_id, $1::bigint[])]`
	sql := `WITH done AS (
		DELETE FROM ` + table + ` AS m
		WHERE m.msg_id = ANY ($1::bigint[]) AND m.read_ct = ($2::int[])` + place + ` AND m.enqueued_at = ($3::timestamptz[])` + place + `
		RETURNING m.msg_id, m.enqueued_at, m.read_ct, m.vt, m.message, m.headers, m.last_read_at)`
	if !w.Deleted {
		sql += `, kept AS (
		INSERT INTO ` + archiveTable + ` (msg_id, enqueued_at, read_ct, vt, message, headers, last_read_at)
		SELECT msg_id, enqueued_at, read_ct, vt, message, headers, last_read_at FROM done)`
	}
	if w.Results {
		sql += `, sent AS (
		INSERT INTO ` + resultTable + ` (vt, message)
		SELECT statement_timestamp(), r.body::jsonb FROM unnest($1::bigint[], $4::text[]) AS r(id, body)
		WHERE (r.id IN (SELECT msg_id FROM done)) IS TRUE)`
	}
	return sql + ` SELECT msg_id FROM done`
}

func (w *sqlWorker) settleArgs() []any {
	if w.Shape == loop {
		return []any{hostproc.Queue, w.batch.ids}
	}
	args := []any{w.batch.ids, w.batch.epochs, w.batch.enqueued}
	if w.Results {
		bodies := make([]string, len(w.batch.ids))
		for i, id := range w.batch.ids {
			bodies[i] = resultBody(id)
		}
		args = append(args, bodies)
	}
	return args
}

// resultBody is a message of the fields and the length of the host's results.
func resultBody(id int64) string {
	n := strconv.FormatInt(id, 10)
	return `{"task_uuid":null,"step_uuid":null,"correlation_id":null,"namespace":"bench","step":"noop","queue":"bench_queue",` +
		`"message_id":` + n + `,"idempotency_key":"bench_queue/` + n + `/1700000000000000","success":true,"status":"completed","result":null,` +
		`"attempt":1,"metadata":{"execution_time_ms":0,"worker_id":"bench","enqueued_at":"2026-01-01T00:00:00.123456Z",` +
		`"started_at":"2026-01-01T00:00:00.123456789Z","completed_at":"2026-01-01T00:00:00.123456789Z"}}`
}
