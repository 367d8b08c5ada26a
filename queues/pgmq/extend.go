package pgmq

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/queues"
)

// extendSQL skips rows that someone has locked: a heartbeat that waited for a
// settlement would take its rows in another order and deadlock with it. A row
// that the snapshot has under the right epoch and that was not extended is
// such a one.
//
// Parameters: ids, epochs, enqueueing times, lease in microseconds.
func extendSQL(l *layout) string {
	return `WITH b AS MATERIALIZED (
		SELECT * FROM unnest($1::bigint[], $2::int[], $3::timestamptz[]) WITH ORDINALITY AS b(id, epoch, enqueued, ord)
	), held AS MATERIALIZED (
		SELECT m.msg_id, b.ord FROM b JOIN ` + l.q + ` AS m ON m.msg_id = b.id AND m.read_ct = b.epoch AND m.enqueued_at = b.enqueued
		WHERE m.msg_id = ANY ($1::bigint[]) AND ` + asyncCommit + `
		FOR UPDATE OF m SKIP LOCKED
	), extended AS (
		UPDATE ` + l.q + ` AS m SET vt = statement_timestamp() + $4::bigint * interval '1 microsecond'
		FROM held WHERE m.msg_id = held.msg_id AND m.msg_id = ANY ($1::bigint[])
		RETURNING held.ord
	)
	SELECT b.ord, e.ord IS NOT NULL, m.msg_id IS NOT NULL
	FROM b LEFT JOIN extended e ON e.ord = b.ord
	       LEFT JOIN ` + l.q + ` AS m ON m.msg_id = b.id AND m.read_ct = b.epoch AND m.enqueued_at = b.enqueued AND m.msg_id = ANY ($1::bigint[])`
}

// Extend implements queues.Broker.
func (b *Broker) Extend(ctx context.Context, queue string, leases []queues.Lease, d time.Duration) ([]queues.ExtendStatus, error) {
	if len(leases) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	order := make([]int, len(leases))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return compare(leases[x].ID, leases[y].ID) })
	ids, epochs, enqueued := make([]int64, len(leases)), make([]int32, len(leases)), make([]time.Time, len(leases))
	for i, at := range order {
		ids[i], epochs[i], enqueued[i] = leases[at].ID, int32(leases[at].Epoch), leases[at].EnqueuedAt
	}
	statuses := make([]queues.ExtendStatus, len(leases))
	err := b.withLayout(ctx, b.beat, queue, func(l *layout) error {
		return retryTransient(ctx, func() error {
			rows, err := b.beat.Query(ctx, l.extend, ids, epochs, enqueued, d.Microseconds())
			if err != nil {
				return err
			}
			var (
				ord            int64
				extended, held bool
			)
			_, err = pgx.ForEachRow(rows, []any{&ord, &extended, &held}, func() error {
				at := order[ord-1]
				switch {
				case extended:
					statuses[at] = queues.Extended
				case held:
					statuses[at] = queues.ExtendSkipped
				default:
					statuses[at] = queues.ExtendLost
				}
				return nil
			})
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("extend leases of queue %q: %w", queue, err)
	}
	return statuses, nil
}
