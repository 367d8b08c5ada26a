package pgmq

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/stephost/stephost/queues"
)

// DeadFilter chooses messages of a dead-letter queue: those that meet all of
// its conditions. The zero value has none and chooses every message. A message
// that stephost did not put there has no origin, namespace, step, reason or
// error, so conditions on these do not choose it.
type DeadFilter struct {
	// IDs are ids in the dead-letter queue; empty means any.
	IDs []IDRange
	// Origin is the queue that the message came from.
	Origin    string
	Namespace string
	Step      string
	Reason    queues.DeadReason
	// ErrorText is part of the error or of its type, in any case; ErrorPattern
	// is a regular expression of PostgreSQL about them, the type on a line of
	// its own after the error.
	ErrorText, ErrorPattern string
	// Since and Until bound when the message came here, by the database's clock:
	// Since included, Until not. Zero means no bound.
	Since, Until time.Time
}

// IDRange is the ids from First to Last, both included.
type IDRange struct{ First, Last int64 }

// DeadIDs chooses messages by their ids.
func DeadIDs(ids ...int64) DeadFilter {
	f := DeadFilter{IDs: make([]IDRange, len(ids))}
	for i, id := range ids {
		f.IDs[i] = IDRange{id, id}
	}
	return f
}

// PatternError is about a regular expression that PostgreSQL does not accept.
type PatternError struct {
	Pattern string
	err     error
}

func (e *PatternError) Error() string {
	return fmt.Sprintf("%q is no regular expression: %s", e.Pattern, refusal(e.err))
}

// Unwrap returns the server's error.
func (e *PatternError) Unwrap() error { return e.err }

func (f DeadFilter) explain(err error) error {
	if sqlState(err) == "2201B" {
		return &PatternError{Pattern: f.ErrorPattern, err: err}
	}
	return err
}

// Now reads the database's clock, which is the one that dead letters bear.
func (b *Broker) Now(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	var now time.Time
	if err := b.work.QueryRow(ctx, `SELECT statement_timestamp()`).Scan(&now); err != nil {
		return now, fmt.Errorf("ask the database for the time: %w", b.explain(err))
	}
	return now, nil
}

// deadSource is how to read the dead letters of a layout: the table m, and
// expressions for what may be elsewhere.
type deadSource struct{ from, headers, record string }

func deadSourceOf(l *layout) deadSource {
	if l.headers {
		return deadSource{
			from: l.q + " m", headers: "m.headers",
			record: "(m.headers -> '" + recordKey + "')",
		}
	}
	return deadSource{
		from: l.q + " m LEFT JOIN " + bookkeepingTable + " k ON k.queue = " + quote(l.key) +
			" AND k.msg_id = m.msg_id AND k.enqueued_at = m.enqueued_at",
		headers: "NULL::jsonb", record: "k.record",
	}
}

// recordText is the record as text. One that is larger than any host writes
// counts as absent.
func (s deadSource) recordText() string { return boundedText(s.record, strconv.Itoa(maxRecordText)) }

// arguments are a statement's parameters.
type arguments []any

// add returns how the statement names the parameter.
func (a *arguments) add(value any, kind string) string {
	*a = append(*a, value)
	return "$" + strconv.Itoa(len(*a)) + "::" + kind
}

// sql is the condition. Whatever is in the headers, none of it raises an error.
func (f DeadFilter) sql(source deadSource, args *arguments) string {
	condition := "true"
	and := func(more string) { condition += " AND " + more }
	record := source.record
	if len(f.IDs) > 0 {
		and(idCondition(f.IDs, args))
	}
	if !f.Since.IsZero() {
		and("m.enqueued_at >= " + args.add(f.Since, "timestamptz"))
	}
	if !f.Until.IsZero() {
		and("m.enqueued_at < " + args.add(f.Until, "timestamptz"))
	}
	for _, equal := range []struct{ path, value string }{
		{"{origin,queue}", f.Origin},
		{"{dead,namespace}", f.Namespace},
		{"{dead,step}", f.Step},
		{"{dead,reason}", string(f.Reason)},
	} {
		if equal.value != "" {
			and(record + " #>> '" + equal.path + "' = " + args.add(equal.value, "text"))
		}
	}
	text := "concat_ws(E'\\n', " + record + " #>> '{dead,error}', " + record + " #>> '{errors,-1,type}')"
	if f.ErrorText != "" {
		and("strpos(lower(" + text + "), lower(" + args.add(f.ErrorText, "text") + ")) > 0")
	}
	if f.ErrorPattern != "" {
		pattern := args.add(f.ErrorPattern, "text")
		// Says that it is malformed where there is nothing to match, too.
		and("('' ~ " + pattern + ") IS NOT NULL AND " + text + " ~ " + pattern)
	}
	return condition
}

// idCondition lets the primary key find single ids.
func idCondition(ids []IDRange, args *arguments) string {
	var single, first, last []int64
	for _, r := range ids {
		if r.First == r.Last {
			single = append(single, r.First)
			continue
		}
		first, last = append(first, r.First), append(last, r.Last)
	}
	if len(first) == 0 {
		return "m.msg_id = ANY(" + args.add(single, "bigint[]") + ")"
	}
	ranges := "EXISTS (SELECT 1 FROM unnest(" + args.add(first, "bigint[]") + ", " + args.add(last, "bigint[]") + ") AS r(first, last) WHERE m.msg_id BETWEEN r.first AND r.last)"
	if len(single) == 0 {
		return ranges
	}
	return "(m.msg_id = ANY(" + args.add(single, "bigint[]") + ") OR " + ranges + ")"
}
