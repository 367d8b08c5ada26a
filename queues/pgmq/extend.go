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
// Parameters: those of a batch, $4 lease in microseconds.
func extendSQL(l *layout) string {
	return `WITH held AS MATERIALIZED (
		SELECT m.msg_id FROM ` + l.q + ` AS m WHERE ` + ofBatch + ` AND ` + asyncCommit + `
		FOR UPDATE SKIP LOCKED
	), extended AS (
		UPDATE ` + l.q + ` AS m SET vt = statement_timestamp() + $4::bigint * interval '1 microsecond'
		WHERE m.msg_id = ANY (ARRAY(SELECT msg_id FROM held))
		RETURNING m.msg_id
	)
	SELECT ` + ordinal + `, m.msg_id IN (SELECT msg_id FROM extended) FROM ` + l.q + ` AS m WHERE ` + ofBatch
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
	statuses := make([]queues.ExtendStatus, len(leases))
	for len(order) > 0 {
		n := ascending(len(order), func(i int) int64 { return leases[order[i]].ID })
		if err := b.extend(ctx, queue, leases, order[:n], d, statuses); err != nil {
			return nil, fmt.Errorf("extend leases of queue %q: %w", queue, err)
		}
		order = order[n:]
	}
	return statuses, nil
}

// extend prolongs the leases that have a place in order and notes what became of them.
func (b *Broker) extend(ctx context.Context, queue string, leases []queues.Lease, order []int, d time.Duration, statuses []queues.ExtendStatus) error {
	ids, epochs, enqueued := make(int8s, len(order)), make(int4s, len(order)), make(timestamptzs, len(order))
	for i, at := range order {
		ids[i], epochs[i], enqueued[i] = leases[at].ID, int32(leases[at].Epoch), leases[at].EnqueuedAt
	}
	return b.withLayout(ctx, b.beat, queue, func(l *layout) error {
		return retryTransient(ctx, func() error {
			rows, err := b.beat.Query(ctx, l.extend, ids, epochs, enqueued, d.Microseconds())
			if err != nil {
				return err
			}
			for _, at := range order {
				statuses[at] = queues.ExtendLost
			}
			var (
				ord      int64
				extended bool
			)
			_, err = pgx.ForEachRow(rows, []any{&ord, &extended}, func() error {
				statuses[order[ord-1]] = queues.ExtendSkipped
				if extended {
					statuses[order[ord-1]] = queues.Extended
				}
				return nil
			})
			return err
		})
	})
}
