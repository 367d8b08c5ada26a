package pgmq

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stephost/stephost/queues"
)

// Claim implements queues.Broker.
func (b *Broker) Claim(ctx context.Context, req queues.ClaimRequest) ([]queues.Delivery, error) {
	if req.Limit <= 0 && req.ID <= 0 {
		return nil, fmt.Errorf("claim from queue %q: limit is %d, it must be positive", req.Queue, req.Limit)
	}
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	var got []queues.Delivery
	err := b.withLayout(ctx, b.work, req.Queue, func(l *layout) (err error) {
		got, err = b.claim(ctx, l, req)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim from queue %q: %w", req.Queue, err)
	}
	slices.SortFunc(got, func(a, b queues.Delivery) int { return compare(a.ID, b.ID) })
	return got, nil
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (b *Broker) claim(ctx context.Context, l *layout, req queues.ClaimRequest) ([]queues.Delivery, error) {
	if req.ID > 0 {
		got, _, err := b.lease(ctx, l, true, req, req.ID)
		return got, err
	}
	in := b.floors.start(l.key, req.Sweep)
	if in.kept {
		return b.claimAbove(ctx, l, req, in)
	}
	began := b.floors.now()
	got, last, err := b.lease(ctx, l, false, req, int64(req.Limit), in.low, end())
	if err != nil {
		return nil, err
	}
	swept := in.whole
	if !swept && len(got) < req.Limit {
		// The run has ended, unless something older became visible late.
		rest := req
		rest.Limit -= len(got)
		swept = true
		more, lastMore, err := b.lease(ctx, l, false, rest, int64(rest.Limit), beginning(), end())
		if err != nil {
			// The first part is leased; its messages must not wait for that.
			b.opts.Logger.Debug("sweep after a claim failed", "queue", req.Queue, "error", err)
		}
		got = append(got, more...)
		if len(more) > 0 {
			last = lastMore
		}
	}
	full := len(got) == req.Limit
	b.floors.ended(l.key, full, swept, last)
	if swept && b.floors.worthWeighing(l.key, b.floors.now().Sub(began), len(got)) {
		b.weigh(ctx, l, began, full, last)
	}
	return got, nil
}

// leaseBodies runs a claim statement, with bodies up to a size.
func (b *Broker) leaseBodies(ctx context.Context, sql string, req queues.ClaimRequest, bodyLimit int, args ...any) (got []queues.Delivery, last time.Time, err error) {
	rows, err := b.work.Query(ctx, sql, append([]any{req.Lease.Microseconds(), bodyLimit}, args...)...)
	if err != nil {
		return nil, last, err
	}
	return deliveries(rows, req, bodyLimit)
}
