package pgmq

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/queues"
)

// DeadSweep is how to go through many dead letters. The zero value takes all
// that are there when it begins, as fast as it can.
type DeadSweep struct {
	// Through is the largest id to touch; 0 means the largest when it begins, and
	// ThroughNone none at all. A message that comes back meanwhile has a larger one.
	Through int64
	// Chunk is how many messages one transaction moves at most; default and most
	// are 500.
	Chunk int
	// Pace is called after each transaction with the number of messages that it
	// moved, and may wait.
	Pace func(ctx context.Context, moved int) error
	// Progress is called after each transaction with how far it is.
	Progress func(DeadReport)
	// DryRun changes nothing and counts what would be done.
	DryRun bool
}

// ThroughNone is for a DeadSweep that was decided upon when there was nothing:
// what has come since is not touched.
const ThroughNone = -1

const (
	sweepChunk = 500
	sweepBytes = 32 << 20
)

// SkipReason says why a chosen message was left where it is.
type SkipReason string

// The reasons.
const (
	// SkipLeased: a consumer of the dead-letter queue has it in hand.
	SkipLeased SkipReason = "leased"
	// SkipTaken: somebody else moved, took or deleted it at the same time.
	SkipTaken SkipReason = "taken"
	// SkipNoOrigin: it does not say where it came from.
	SkipNoOrigin SkipReason = "no_origin"
	// SkipNoQueue: the queue that it came from does not exist.
	SkipNoQueue SkipReason = "no_queue"
	// SkipRefused: the database does not take it there.
	SkipRefused SkipReason = "refused"
)

// maxSkippedIDs is how many ids a DeadSkip keeps.
const maxSkippedIDs = 20

// DeadSkip is messages that were left for the same reason.
type DeadSkip struct {
	Reason SkipReason
	// Queue is where they would have gone, if that has to do with it.
	Queue string
	Count int64
	// IDs are the first of them, at most 20.
	IDs []int64
	// Err explains it, where there is more to say.
	Err error
}

// DeadReport says what has become of dead letters.
type DeadReport struct {
	Queue string
	// Total is how many there were to look at when it began, Seen how many were
	// looked at, Done how many of these were moved. Total counts what the filter
	// chose; some of it may be gone when its turn comes.
	Total, Seen, Done int64
	// To counts the moved ones by the queue that they went to. Nil for a
	// discard.
	To map[string]int64
	// Skipped are the others.
	Skipped []DeadSkip
	// Absent are ids that were asked for one by one and are not there.
	Absent []int64
}

func (r *DeadReport) skip(reason SkipReason, queue string, err error, ids ...int64) {
	if len(ids) == 0 {
		return
	}
	at := -1
	for i, s := range r.Skipped {
		if s.Reason == reason && s.Queue == queue {
			at = i
		}
	}
	if at < 0 {
		at = len(r.Skipped)
		r.Skipped = append(r.Skipped, DeadSkip{Reason: reason, Queue: queue, Err: err})
	}
	s := &r.Skipped[at]
	s.Count += int64(len(ids))
	s.IDs = append(s.IDs, ids[:min(len(ids), maxSkippedIDs-len(s.IDs))]...)
}

// candidate is a dead letter that a transaction may take, as it was when it
// was looked at: the transaction takes it only if it still is that.
type candidate struct {
	id       int64
	epoch    int32
	enqueued time.Time
	leased   bool
	record   queues.Record
	bytes    int64
}

func (c candidate) origin(queue string) queues.Origin {
	if c.record.Origin != nil {
		return *c.record.Origin
	}
	return queues.Origin{Queue: queue, ID: c.id, EnqueuedAt: c.enqueued}
}

// sweep is a DeadSweep under way.
type sweep struct {
	DeadSweep
	b      *Broker
	which  DeadFilter
	report DeadReport
	// take does to the candidates what is to be done, and writes it into the
	// report.
	take func(ctx context.Context, chunk []candidate) error
}

func (s *sweep) run(ctx context.Context) error {
	found, err := s.b.DeadCount(ctx, s.report.Queue, s.which)
	if err != nil {
		return err
	}
	s.report.Total = found.Count
	through := s.Through
	if through == 0 {
		through = found.Last
	}
	absent := s.askedFor()
	for after := int64(0); after < through; {
		if err := ctx.Err(); err != nil {
			return err
		}
		chunk, err := s.candidates(ctx, after, through)
		if err != nil {
			return fmt.Errorf("read dead letters of %q: %w", s.report.Queue, err)
		}
		if len(chunk) == 0 {
			break
		}
		after = chunk[len(chunk)-1].id
		for _, c := range chunk {
			delete(absent, c.id)
		}
		if err := s.step(ctx, chunk); err != nil {
			return err
		}
	}
	for _, r := range s.which.IDs {
		if absent[r.First] {
			s.report.Absent = append(s.report.Absent, r.First)
			delete(absent, r.First)
		}
	}
	return nil
}

// step deals with one chunk. What has begun is finished though ctx ends, so
// that the report is right.
func (s *sweep) step(ctx context.Context, chunk []candidate) error {
	free := make([]candidate, 0, len(chunk))
	for _, c := range chunk {
		if c.leased {
			s.report.skip(SkipLeased, "", nil, c.id)
			continue
		}
		free = append(free, c)
	}
	before := s.report.Done
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	err := s.take(work, free)
	if err == nil {
		s.report.Seen += int64(len(chunk))
	}
	if s.Progress != nil {
		s.Progress(s.report)
	}
	if moved := s.report.Done - before; err == nil && moved > 0 && s.Pace != nil && !s.DryRun {
		err = s.Pace(ctx, int(moved))
	}
	return err
}

// askedFor are the ids that the caller named one by one.
func (s *sweep) askedFor() map[int64]bool {
	ids := make(map[int64]bool)
	for _, r := range s.which.IDs {
		if r.First == r.Last {
			ids[r.First] = true
		}
	}
	return ids
}

func (s *sweep) candidates(ctx context.Context, after, through int64) ([]candidate, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	limit := s.Chunk
	if limit <= 0 || limit > sweepChunk {
		limit = sweepChunk
	}
	var chunk []candidate
	err := s.b.withLayout(ctx, s.b.work, s.report.Queue, func(l *layout) error {
		source := deadSourceOf(l)
		var args arguments
		where := s.which.sql(source, &args) + " AND m.msg_id > " + args.add(after, "bigint") + " AND m.msg_id <= " + args.add(through, "bigint")
		rows, err := s.b.work.Query(ctx, `SELECT m.msg_id, m.read_ct, m.enqueued_at, m.vt > statement_timestamp(), `+source.recordText()+`, coalesce(pg_column_size(m.message), 0)::bigint
			FROM `+source.from+` WHERE `+where+` ORDER BY m.msg_id LIMIT `+args.add(limit, "bigint"), args...)
		if err != nil {
			return err
		}
		chunk, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c candidate, err error) {
			var record []byte
			err = row.Scan(&c.id, &c.epoch, &c.enqueued, &c.leased, &record, &c.bytes)
			c.record = decodeRecord(record)
			return c, err
		})
		return err
	})
	if err != nil {
		return nil, s.which.explain(err)
	}
	// Bodies stay in the database, but one transaction should not move too much.
	bytes := int64(0)
	for i, c := range chunk {
		if bytes += c.bytes; bytes > sweepBytes && i > 0 {
			return chunk[:i], nil
		}
	}
	return chunk, nil
}

// took notes the outcome of a transaction that was given the candidates:
// taken are the ordinals, from one, of those that it found as they were.
func (s *sweep) took(chunk []candidate, taken []int64) {
	got := make(map[int64]bool, len(taken))
	for _, ord := range taken {
		got[ord] = true
	}
	for i, c := range chunk {
		if !got[int64(i+1)] {
			s.report.skip(SkipTaken, "", nil, c.id)
		}
	}
	s.report.Done += int64(len(taken))
}

// pickedArm locks the candidates that still are what they were when they were
// looked at, and that nobody else has in hand. Parameters: $1 ids, $2 epochs,
// $3 enqueueing times, $4 records.
func pickedArm(dead *layout) string {
	return `picked AS MATERIALIZED (
	SELECT b.ord, m.msg_id, b.record FROM ` + dead.q + ` AS m
	JOIN unnest($1::bigint[], $2::int[], $3::timestamptz[], $4::text[]) WITH ORDINALITY AS b(id, epoch, enqueued, record, ord) ON m.msg_id = b.id
	WHERE m.read_ct = b.epoch AND m.enqueued_at = b.enqueued AND m.vt <= statement_timestamp()
	ORDER BY m.msg_id FOR UPDATE OF m SKIP LOCKED)`
}

func pickedArgs(chunk []candidate, records []string) []any {
	ids, epochs, enqueued := make([]int64, len(chunk)), make([]int32, len(chunk)), make([]time.Time, len(chunk))
	for i, c := range chunk {
		ids[i], epochs[i], enqueued[i] = c.id, c.epoch, c.enqueued
	}
	return []any{ids, epochs, enqueued, records}
}

// attempt runs a statement that moves candidates and notes the outcome. It
// finds those that the database refuses by halving, and leaves them.
func (s *sweep) attempt(ctx context.Context, target string, chunk []candidate, run func(context.Context, []candidate) ([]int64, error)) error {
	if len(chunk) == 0 {
		return nil
	}
	var taken []int64
	err := retryTransient(ctx, func() (err error) {
		taken, err = run(ctx, chunk)
		return err
	})
	switch {
	case err == nil:
		s.took(chunk, taken)
		return nil
	case classify(err) == faultUnknown:
		return fmt.Errorf("messages %d to %d of %q: whether they were moved is not known, the list shows those that were not: %w",
			chunk[0].id, chunk[len(chunk)-1].id, s.report.Queue, err)
	case classify(err) != faultRefused:
		return fmt.Errorf("messages %d to %d of %q: %w", chunk[0].id, chunk[len(chunk)-1].id, s.report.Queue, s.b.explain(err))
	case len(chunk) == 1:
		s.report.skip(SkipRefused, target, refusal(err), chunk[0].id)
		return nil
	}
	half := len(chunk) / 2
	if err := s.attempt(ctx, target, chunk[:half], run); err != nil {
		return err
	}
	return s.attempt(ctx, target, chunk[half:], run)
}
