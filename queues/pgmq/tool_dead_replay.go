package pgmq

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/queues"
)

// ReplayOptions change what DeadReplay does.
type ReplayOptions struct {
	DeadSweep
	// To sends all messages to this queue, wherever they came from, also those
	// that do not say where.
	To string
}

// DeadReplay moves the chosen messages back to the queues that they came from,
// and tells who listens there. The failure budget starts afresh; the history
// and the origin, and with it the idempotency key, stay.
//
// A message is gone from the dead letters and in its queue, or neither; it is
// moved only as long as it is the message that was looked at, so of two that
// want it at the same time one gets it. A message that a consumer of the
// dead-letter queue has leased is left alone. What was left, and why, is in the
// report; that is no error.
//
// Messages are moved in chunks, each a transaction of its own. When ctx ends
// between two of them the rest is left as it is and the error is ctx's. The
// report is right also where there is an error.
func (b *Broker) DeadReplay(ctx context.Context, queue string, which DeadFilter, opts ReplayOptions) (DeadReport, error) {
	r := &replay{sweep: sweep{DeadSweep: opts.DeadSweep, b: b, which: which, report: DeadReport{Queue: queue, To: map[string]int64{}}}, to: opts.To}
	r.take = r.chunk
	err := r.checkTarget(ctx)
	if err == nil {
		err = r.run(ctx)
	}
	if err != nil {
		err = fmt.Errorf("replay dead letters: %w", err)
	}
	return r.report, err
}

type replay struct {
	sweep
	to string
}

// errReplayToItself is about a target that is no other queue.
var errReplayToItself = errors.New("that is the queue that they are in")

func (r *replay) checkTarget(ctx context.Context) error {
	if r.to == "" {
		return nil
	}
	known, err := r.b.layoutsOf(ctx, r.b.work, []string{r.report.Queue, r.to})
	if err != nil {
		return r.b.explain(err)
	}
	if known[r.to] == nil {
		return &queues.MissingQueueError{Queue: r.to}
	}
	if dead := known[r.report.Queue]; dead != nil && dead.key == known[r.to].key {
		return fmt.Errorf("to queue %q: %w", r.to, errReplayToItself)
	}
	return nil
}

// chunk moves the candidates, those of one target in one statement.
func (r *replay) chunk(ctx context.Context, chunk []candidate) error {
	byTarget := map[string][]candidate{}
	var targets []string
	for _, c := range chunk {
		target := r.to
		if target == "" && c.record.Origin != nil {
			target = c.record.Origin.Queue
		}
		if target == "" {
			r.report.skip(SkipNoOrigin, "", nil, c.id)
			continue
		}
		if byTarget[target] == nil {
			targets = append(targets, target)
		}
		byTarget[target] = append(byTarget[target], c)
	}
	slices.Sort(targets)
	for _, target := range targets {
		if err := r.move(ctx, target, byTarget[target], false); err != nil {
			return err
		}
	}
	return nil
}

// move sends candidates to one queue. fresh says that the layouts were read
// anew already.
func (r *replay) move(ctx context.Context, target string, chunk []candidate, fresh bool) error {
	known, err := r.b.layoutsOf(ctx, r.b.work, []string{r.report.Queue, target})
	if err != nil {
		return r.b.explain(err)
	}
	dead, to := known[r.report.Queue], known[target]
	switch {
	case dead == nil:
		return &queues.MissingQueueError{Queue: r.report.Queue}
	case to == nil:
		r.report.skip(SkipNoQueue, target, &queues.MissingQueueError{Queue: target}, idsOf(chunk)...)
		return nil
	case r.DryRun:
		r.report.Done += int64(len(chunk))
		r.report.To[target] += int64(len(chunk))
		return nil
	}
	family, err := r.b.announce.current(ctx, r.b)
	if err != nil {
		return err
	}
	sql, before := r.b.replaySQL(dead, to, family), r.report.Done
	err = r.attempt(ctx, target, chunk, func(ctx context.Context, part []candidate) ([]int64, error) {
		records := make([]string, len(part))
		for i, c := range part {
			if records[i], err = encodeRecord(replayed(c, r.report.Queue)); err != nil {
				return nil, err
			}
		}
		rows, err := r.b.work.Query(ctx, sql, pickedArgs(part, records)...)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[int64])
	})
	if done := r.report.Done - before; done > 0 {
		r.report.To[target] += done
	}
	if isStaleLayout(err) && !fresh {
		r.b.layouts.drop(r.report.Queue, target)
		r.b.announce.forget()
		return r.move(ctx, target, chunk, true)
	}
	return err
}

func idsOf(chunk []candidate) []int64 {
	ids := make([]int64, len(chunk))
	for i, c := range chunk {
		ids[i] = c.id
	}
	return ids
}

// replayed is the record of a message that starts anew. Its history and where
// it was first enqueued stay.
func replayed(c candidate, queue string) queues.Record {
	fresh, origin := c.record, c.origin(queue)
	fresh.Failures, fresh.Crashes, fresh.Suspicion, fresh.Accounted, fresh.Dead = 0, 0, 0, 0, nil
	fresh.Origin = &origin
	fresh.Replays++
	return fresh
}

// replaySQL takes candidates out of the dead letters and puts them into another
// queue. It returns the ordinals of those that it found as they were.
func (b *Broker) replaySQL(dead, to *layout, f family) string {
	headers, columns, values := "NULL::jsonb", "vt, message", "statement_timestamp(), message"
	if dead.headers {
		headers = "m.headers"
	}
	if to.headers {
		columns, values = columns+", headers", values+", "+withRecord("headers", "record")
	}
	sql := "WITH " + pickedArm(dead) + `,
done AS (
	DELETE FROM ` + dead.q + ` AS m USING picked AS p WHERE m.msg_id = p.msg_id
	RETURNING p.ord, m.msg_id, m.enqueued_at, m.message, ` + headers + ` AS headers, p.record::jsonb AS record),
moved AS (
	INSERT INTO ` + to.q + ` (` + columns + `) SELECT ` + values + ` FROM done ORDER BY ord
	RETURNING msg_id, enqueued_at)`
	for _, arm := range forgetArm(dead) {
		sql += ",\n" + arm
	}
	if !to.headers {
		// Identities are drawn in the order of the rows, which pairs them up again.
		sql += `,
noted AS (
	INSERT INTO ` + bookkeepingTable + ` (queue, msg_id, enqueued_at, record)
	SELECT ` + quote(to.key) + `, n.msg_id, n.enqueued_at, o.record
	FROM (SELECT msg_id, enqueued_at, row_number() OVER (ORDER BY msg_id) AS place FROM moved) n
	JOIN (SELECT record, row_number() OVER (ORDER BY ord) AS place FROM done) o USING (place))`
	}
	return sql + ",\n" + b.replayNotice(to, f) + `
SELECT ord FROM done WHERE (SELECT count(*) FROM notice) >= 0`
}

// replayNotice announces what has arrived, also where no trigger does: pgmq's
// is throttled and may not be enabled.
func (b *Broker) replayNotice(to *layout, f family) string {
	if f.tasker {
		return `notice AS MATERIALIZED (
	SELECT ` + taskerNotice(to, b.opts.NamespaceOf(to.queue), "msg_id", "0") + ` FROM moved)`
	}
	return releaseNotice(to, f, "")
}
