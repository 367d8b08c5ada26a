package pgmq

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/queues"
)

// longestText is how long a text can be in PostgreSQL, in bytes.
const longestText = 1 << 30

// isTooLong tells that a text would have been longer.
func isTooLong(err error) bool { return sqlState(err) == "54000" }

// BodySize implements queues.Broker. The size is that of the JSON text; of one
// that is too long for PostgreSQL to write it is the longest that there is.
func (b *Broker) BodySize(ctx context.Context, lease queues.Lease) (size int64, ok bool, err error) {
	ok, err = b.leased(ctx, lease, `coalesce(octet_length(message::text), 0)::bigint`, &size)
	if isTooLong(err) {
		return longestText, true, nil
	}
	return size, ok, err
}

// Body implements queues.Broker.
func (b *Broker) Body(ctx context.Context, lease queues.Lease) (body []byte, ok bool, err error) {
	ok, err = b.leased(ctx, lease, `message::text`, &body)
	return body, ok, err
}

func (b *Broker) leased(ctx context.Context, lease queues.Lease, expression string, into any) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	found := false
	err := b.withLayout(ctx, b.work, lease.Queue, func(l *layout) error {
		err := b.work.QueryRow(ctx, `SELECT `+expression+` FROM `+l.q+` WHERE msg_id = $1 AND read_ct = $2 AND enqueued_at = $3`,
			lease.ID, int32(lease.Epoch), lease.EnqueuedAt).Scan(into)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		found = err == nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("read message %d of queue %q: %w", lease.ID, lease.Queue, err)
	}
	return found, nil
}
