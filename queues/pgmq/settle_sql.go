package pgmq

import (
	"fmt"
	"strings"

	"github.com/stephost/stephost/queues"
)

// A settlement statement is a chain of CTEs: `done` takes or changes the rows
// that still have their lease's epoch, and every other arm joins it, so that
// nothing is written for a member whose lease is lost. Members are known by
// their ordinal, from one.
//
// Parameters: those of a batch (see ofBatch); unless completing $4 records, and
// for what is given back $5 delays in microseconds; then for each target, in the
// order of their names, ordinals and bodies, and headers and delays unless no
// message to it has any.

// statementKey is everything that the text depends on.
func statementKey(g group, t tables, f family, sends []outgoing) string {
	var key strings.Builder
	fmt.Fprintf(&key, "%d %s", g.kind, f.send)
	if f.tasker {
		key.WriteString(" tasker")
	}
	for _, l := range append([]*layout{t.source, t.dead}, t.targets...) {
		if l != nil {
			fmt.Fprintf(&key, "\x00%s %v", l.queue, l.shape())
		}
	}
	for _, o := range sends {
		fmt.Fprintf(&key, " %t", o.plain)
	}
	return key.String()
}

func settleArgs(g group, members []member, sends []outgoing) []any {
	ids, epochs, enqueued := make(int8s, len(members)), make(int4s, len(members)), make(timestamptzs, len(members))
	for i, m := range members {
		ids[i], epochs[i], enqueued[i] = m.lease.ID, int32(m.lease.Epoch), m.lease.EnqueuedAt
	}
	args := []any{ids, epochs, enqueued}
	if g.kind != kindComplete {
		records := make(texts, len(members))
		for i, m := range members {
			records[i] = []byte(m.record)
		}
		args = append(args, records)
	}
	if g.kind.givesBack() {
		delays := make(int8s, len(members))
		for i, m := range members {
			delays[i] = m.delay
		}
		args = append(args, delays)
	}
	for _, o := range sends {
		args = append(args, o.args()...)
	}
	return args
}

// outgoing is what a statement sends to one queue, as columns.
type outgoing struct {
	// plain says that none of the messages has headers or a delay, and that
	// nothing but an INSERT sends them.
	plain   bool
	ords    int8s
	bodies  texts
	headers texts
	delays  int8s
}

// outgoingTo collects what the members send to each target.
func outgoingTo(targets []*layout, f family, members []member) []outgoing {
	sends := make([]outgoing, len(targets))
	byQueue := make(map[string]*outgoing, len(targets))
	for i, target := range targets {
		sends[i].plain = f.send == ""
		byQueue[target.queue] = &sends[i]
	}
	for i, m := range members {
		for _, out := range m.send {
			byQueue[out.Queue].add(int64(i+1), out)
		}
	}
	return sends
}

func (o *outgoing) add(ord int64, out queues.Outgoing) {
	delay := max(0, out.Delay.Microseconds())
	o.plain = o.plain && out.Headers == nil && delay == 0
	o.ords = append(o.ords, ord)
	o.bodies = append(o.bodies, out.Body)
	o.headers = append(o.headers, out.Headers)
	o.delays = append(o.delays, delay)
}

func (o *outgoing) args() []any {
	if o.plain {
		return []any{o.ords, o.bodies}
	}
	return []any{o.ords, o.bodies, o.headers, o.delays}
}

func (b *Broker) settleSQL(g group, t tables, f family, sends []outgoing) string {
	var (
		arms []string
		next int
	)
	switch g.kind {
	case kindComplete:
		arms, next = b.completeArms(t.source), 4
	case kindDead:
		arms, next = deadArms(t.source, t.dead), 5
	case kindRetry, kindRelease:
		arms, next = giveBackArms(t.source), 6
	}
	var calls []string
	for i, target := range t.targets {
		more, called := sendArms(i, next, target, f, b.opts.NamespaceOf(target.queue), sends[i].plain)
		arms, calls = append(arms, more...), append(calls, called...)
		next += len(sends[i].args())
	}
	if g.kind == kindRelease {
		arms = append(arms, releaseNotice(t.source, f, b.opts.NamespaceOf(t.source.queue)))
		calls = append(calls, "notice")
	}
	// A SELECT arm runs only when something reads it.
	where := ""
	for i, call := range calls {
		if i == 0 {
			where = " WHERE "
		} else {
			where += " AND "
		}
		where += "(SELECT count(*) FROM " + call + ") >= 0"
	}
	return "WITH " + strings.Join(arms, ",\n") + "\nSELECT ord FROM done" + where
}

// completeArms delete the rows and keep them in the archive.
func (b *Broker) completeArms(l *layout) []string {
	returning := ordinal + " AS ord, m.msg_id, m.enqueued_at"
	archive := b.opts.OnComplete == Archive
	if archive {
		returning = ordinal + " AS ord"
		for _, column := range l.archived() {
			returning += ", m." + column
		}
	}
	arms := []string{`done AS (
	DELETE FROM ` + l.q + ` AS m WHERE ` + ofBatch + `
	RETURNING ` + returning + `)`}
	if archive {
		arms = append(arms, archiveArm(l))
	}
	return append(arms, forgetArm(l)...)
}

// archived are the columns that the queue's archive takes over.
func (l *layout) archived() []string {
	columns := []string{"msg_id", "enqueued_at", "read_ct", "vt", "message"}
	if l.headers && l.archiveHeaders {
		columns = append(columns, "headers")
	}
	if l.lastRead && l.archiveLastRead {
		columns = append(columns, "last_read_at")
	}
	return columns
}

func archiveArm(l *layout) string {
	columns := strings.Join(l.archived(), ", ")
	return `kept AS (
	INSERT INTO ` + l.a + ` (` + columns + `) SELECT ` + columns + ` FROM done)`
}

// forgetArm deletes the records beside the queue, each found by its key: a join could
// read all there are.
func forgetArm(l *layout) []string {
	if l.headers {
		return nil
	}
	return []string{`forgotten AS (
	DELETE FROM ` + bookkeepingTable + ` WHERE ctid = ANY (ARRAY(
		SELECT (SELECT k.ctid FROM ` + bookkeepingTable + ` AS k
			WHERE k.queue = ` + quote(l.key) + ` AND k.msg_id = done.msg_id AND k.enqueued_at = done.enqueued_at)
		FROM done)))`}
}

// giveBackArms make the rows visible again, now or later, with their
// bookkeeping and a new epoch.
func giveBackArms(l *layout) []string {
	record, set := memberOf("$4::text[]"), ""
	if l.headers {
		set = ", headers = " + withRecord("m.headers", record+"::jsonb")
	}
	arms := []string{`done AS (
	UPDATE ` + l.q + ` AS m
	SET vt = statement_timestamp() + ` + memberOf("$5::bigint[]") + ` * interval '1 microsecond', read_ct = m.read_ct + 1` + set + `
	WHERE ` + ofBatch + `
	RETURNING ` + ordinal + ` AS ord, m.msg_id, m.enqueued_at)`}
	if l.headers {
		return arms
	}
	return append(arms, `noted AS (
	INSERT INTO `+bookkeepingTable+` (queue, msg_id, enqueued_at, record)
	SELECT `+quote(l.key)+`, m.msg_id, m.enqueued_at, `+record+`::jsonb FROM done AS m
	ON CONFLICT (queue, msg_id, enqueued_at) DO UPDATE SET record = EXCLUDED.record)`)
}

// deadArms move the rows.
func deadArms(l, dead *layout) []string {
	record, headers := memberOf("$4::text[]")+"::jsonb", "NULL::jsonb"
	if l.headers {
		headers = "m.headers"
	}
	arms := []string{`done AS (
	DELETE FROM ` + l.q + ` AS m WHERE ` + ofBatch + `
	RETURNING ` + ordinal + ` AS ord, m.msg_id, m.enqueued_at, m.message, ` + headers + ` AS headers,
		jsonb_build_object('origin', jsonb_build_object('queue', ` + quote(l.queue) + `, 'msg_id', m.msg_id, 'enqueued_at', m.enqueued_at))
		|| ` + record + `
		|| jsonb_build_object('dead', coalesce(` + record + ` -> 'dead', '{}') || jsonb_build_object('at', statement_timestamp())) AS record)`}
	arms = append(arms, forgetArm(l)...)
	if dead.headers {
		return append(arms, `moved AS (
	INSERT INTO `+dead.q+` (vt, message, headers)
	SELECT statement_timestamp(), message, `+withRecord("headers", "record")+` FROM done ORDER BY ord)`)
	}
	// Identities are drawn in the order of the rows, which pairs them up again.
	return append(arms, `moved AS (
	INSERT INTO `+dead.q+` (vt, message)
	SELECT statement_timestamp(), message FROM done ORDER BY ord
	RETURNING msg_id, enqueued_at)`,
		`noted AS (
	INSERT INTO `+bookkeepingTable+` (queue, msg_id, enqueued_at, record)
	SELECT `+quote(dead.key)+`, n.msg_id, n.enqueued_at, o.record
	FROM (SELECT msg_id, enqueued_at, row_number() OVER (ORDER BY msg_id) AS place FROM moved) n
	JOIN (SELECT record, row_number() OVER (ORDER BY ord) AS place FROM done) o USING (place))`)
}

// sendArms send to one target. called are the arms that run only when read.
func sendArms(i, parameter int, l *layout, f family, namespace string, plain bool) (arms, called []string) {
	columns, values, more := "vt, message", "statement_timestamp(), o.body::jsonb", ""
	arrays, names := fmt.Sprintf("$%d::bigint[], $%d::text[]", parameter, parameter+1), "ord, body"
	if !plain {
		values = "statement_timestamp() + o.delay * interval '1 microsecond', o.body::jsonb"
		arrays, names = arrays+fmt.Sprintf(", $%d::text[], $%d::bigint[]", parameter+2, parameter+3), names+", headers, delay"
		if l.headers {
			columns, values = columns+", headers", values+", o.headers::jsonb"
		}
	}
	// Not as a join, which may compare everything with everything.
	from := `unnest(` + arrays + `) WITH ORDINALITY AS o(` + names + `, place)
	WHERE (o.ord IN (SELECT ord FROM done)) IS TRUE`
	if f.send != "" {
		// tasker's function takes whole seconds and no headers.
		plain := "(o.headers IS NULL AND o.delay % 1000000 = 0)"
		name := fmt.Sprintf("sent%d", i)
		arms = append(arms, name+` AS MATERIALIZED (
	SELECT `+f.send+`(`+quote(l.queue)+`::text, o.body::jsonb, (o.delay / 1000000)::int) FROM `+from+` AND `+plain+`)`)
		called = append(called, name)
		more = " AND NOT " + plain
	}
	name := fmt.Sprintf("inserted%d", i)
	insert := name + ` AS (
	INSERT INTO ` + l.q + ` (` + columns + `) SELECT ` + values + ` FROM ` + from + more + ` ORDER BY o.place`
	if !f.tasker {
		return append(arms, insert+")"), called
	}
	notice := fmt.Sprintf("told%d", i)
	return append(arms, insert+" RETURNING msg_id, vt)", notice+` AS MATERIALIZED (
	SELECT `+taskerNotice(l, namespace, "msg_id", "greatest(0, extract(epoch FROM vt - statement_timestamp()))")+` FROM `+name+`)`), append(called, notice)
}
