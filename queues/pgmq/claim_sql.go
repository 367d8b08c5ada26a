package pgmq

import (
	"fmt"
	"strings"
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

// A body that is stored in no more than smallBody bytes is nearly always about as
// long as text, so it is written without asking. Should it be one of the others,
// it is cut after maxSmallText characters, which is at least as many bytes, and
// the host sees that it is too long: a batch of them fits into the memory that one
// of the longest inline bodies takes.
const (
	smallBody    = 1 << 10
	maxSmallText = 64 << 10
)

// asyncCommit is true, and lets the transaction commit without waiting for the
// disk. A lease that a crash undoes is a redelivery and no loss. It is part of
// the statement, so that it costs no round trip and leaves nothing behind.
const asyncCommit = `(SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL`

// claimSQL leases in the order of vt, for which pgmq has an index; by msg_id
// every claim would walk past all delayed messages.
//
// What is locked is then found by its place in the table, which is cheaper than
// its key. A row that somebody changed after the statement's snapshot is locked in
// its new place, where the snapshot shows nothing: it is left for the next claim,
// which is why a claim can get less than there is. The id is compared all the
// same, since a place is unique only within one table: a layout may be out of date.
// The comparison is one that no index serves, so the planner has nothing else to choose.
//
// A record is empty where the headers are too large to be looked into. The size is
// NULL for a small body.
//
// Parameters: lease in microseconds, body limit, then limit, least vt and its end,
// or id.
func claimSQL(l *layout, one, careful bool) string {
	which := `vt <= statement_timestamp() AND vt >= (SELECT $4::timestamptz) AND vt < (SELECT $5::timestamptz) AND ` + asyncCommit + ` ORDER BY vt LIMIT (SELECT $3::bigint)`
	if one {
		which = `msg_id = $3::bigint AND vt <= statement_timestamp() AND ` + asyncCommit
	}
	set, more, join := "", "", ""
	if l.lastRead {
		set = ", last_read_at = statement_timestamp()"
	}
	record := recordOf("m.headers", careful)
	if !l.headers {
		more = ", enqueued_at"
		join = ` LEFT JOIN ` + bookkeepingTable + ` k ON k.queue = ` + quote(l.key) + ` AND k.msg_id = p.msg_id AND k.enqueued_at = p.enqueued_at`
		record = `CASE WHEN k.record IS NOT NULL THEN ` + textWithin("k.record", fmt.Sprint(maxRecordText), "''") + ` END`
	}
	same := `m.ctid = p.place AND m.msg_id IS NOT DISTINCT FROM p.msg_id`
	if !l.single {
		same = `m.msg_id = p.msg_id`
	}
	small := smallBody
	if careful {
		small = 0 // nothing is
	}
	return `WITH picked AS MATERIALIZED (
		SELECT ctid AS place, msg_id, vt` + more + ` FROM ` + l.q + ` WHERE ` + which + ` FOR UPDATE SKIP LOCKED
	)
	UPDATE ` + l.q + ` AS m
	SET vt = (SELECT statement_timestamp() + $1::bigint * interval '1 microsecond'), read_ct = m.read_ct + 1` + set + `
	FROM picked p` + join + ` WHERE ` + same + `
	RETURNING m.msg_id, m.read_ct, m.enqueued_at, p.vt, statement_timestamp(), ` + record + `,
		CASE WHEN pg_column_size(m.message) > ` + fmt.Sprint(small) + ` THEN pg_column_size(m.message) END,
		CASE WHEN pg_column_size(m.message) <= ` + fmt.Sprint(small) + ` THEN m.message::text::varchar(` + fmt.Sprint(maxSmallText+1) + `)::text
		     WHEN pg_column_size(m.message) <= $2::bigint THEN ` + textWithin("m.message", "$2::bigint", "NULL") + ` END`
}

// recordOf is an expression for the bookkeeping in headers. Nearly all messages
// have none.
func recordOf(headers string, careful bool) string {
	ours := headers + ` -> '` + recordKey + `'`
	long := ""
	if careful {
		long = `
		WHEN ` + hasLongNumbers(ours) + ` THEN ''
		WHEN jsonb_typeof(` + headers + `) <> 'object' AND ` + hasLongNumbers(headers) + ` THEN ''`
	}
	return `CASE WHEN ` + headers + ` IS NULL THEN NULL
		WHEN pg_column_size(` + headers + `) > ` + fmt.Sprint(maxStoredHeaders) + ` THEN ''` + long + `
		WHEN jsonb_typeof(` + headers + `) = 'object' THEN ` + textWithin(ours, fmt.Sprint(maxRecordText), "''") + `
		WHEN octet_length(` + headers + `::text) > ` + fmt.Sprint(maxOddHeaders) + ` THEN '' END`
}

// textWithin is an expression for JSON as text, or for something else where that
// has more bytes than the limit. It is written once, and at once dropped when it is
// too long: the OFFSET keeps the planner from putting it into both places.
func textWithin(json, limit, otherwise string) string {
	return `(SELECT CASE WHEN octet_length(x.t) > ` + limit + ` THEN ` + otherwise + ` ELSE x.t END FROM (SELECT (` + json + `)::text AS t OFFSET 0) AS x)`
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
