package pgmq

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// DiscardOptions change what DeadDiscard does.
type DiscardOptions struct {
	DeadSweep
	// Delete drops the messages. Otherwise they are kept in the archive of the
	// dead-letter queue.
	Delete bool
}

// DeadDiscard takes the chosen messages out of a dead-letter queue, into its
// archive unless they are to be deleted. It is fenced, respects leases and goes
// in chunks as DeadReplay does, and reports in the same way. Where the tables
// have no headers column, the record is not kept.
func (b *Broker) DeadDiscard(ctx context.Context, queue string, which DeadFilter, opts DiscardOptions) (DeadReport, error) {
	d := &discard{sweep: sweep{DeadSweep: opts.DeadSweep, b: b, which: which, report: DeadReport{Queue: queue}}, delete: opts.Delete}
	d.take = d.chunk
	err := d.run(ctx)
	if err != nil {
		err = fmt.Errorf("discard dead letters: %w", err)
	}
	return d.report, err
}

type discard struct {
	sweep
	delete bool
}

func (d *discard) chunk(ctx context.Context, chunk []candidate) error {
	if d.DryRun {
		d.report.Done += int64(len(chunk))
		return nil
	}
	return d.b.withLayout(ctx, d.b.work, d.report.Queue, func(dead *layout) error {
		if !d.delete && !dead.archive {
			return fmt.Errorf("queue %q has no archive: delete the messages or send them elsewhere", dead.queue)
		}
		sql := discardSQL(dead, d.delete)
		return d.attempt(ctx, "", chunk, func(ctx context.Context, part []candidate) ([]int64, error) {
			rows, err := d.b.work.Query(ctx, sql, pickedArgs(part, make([]string, len(part)))...)
			if err != nil {
				return nil, err
			}
			return pgx.CollectRows(rows, pgx.RowTo[int64])
		})
	})
}

func discardSQL(dead *layout, drop bool) string {
	returning := "p.ord"
	for _, column := range dead.archived() {
		returning += ", m." + column
	}
	sql := "WITH " + pickedArm(dead) + `,
done AS (
	DELETE FROM ` + dead.q + ` AS m USING picked AS p WHERE m.msg_id = p.msg_id
	RETURNING ` + returning + `)`
	if !drop {
		sql += ",\n" + archiveArm(dead)
	}
	for _, arm := range forgetArm(dead) {
		sql += ",\n" + arm
	}
	return sql + "\nSELECT ord FROM done"
}
