package pgmq

import (
	"context"
	"fmt"
)

// CountMessages counts the messages of a queue, visible or not, up to limit,
// and so costs no more on a huge queue.
func (b *Broker) CountMessages(ctx context.Context, queue string, limit int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	var n int64
	err := b.withLayout(ctx, b.work, queue, func(l *layout) error {
		return b.work.QueryRow(ctx, `SELECT count(*) FROM (SELECT 1 FROM `+l.q+` LIMIT $1) c`, limit).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("count the messages of queue %q: %w", queue, err)
	}
	return n, nil
}
