package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/internal/wait"
)

// Swap is what constant load notices of a plugin that is replaced again and
// again. Latencies are from a message's commit to its durable settlement, by
// the database's clock.
type Swap struct {
	Swaps int `json:"swaps"`
	Steps int `json:"steps"`
	// Quiet is without swaps, Swapping with them, under the same load.
	Quiet    Quantiles `json:"quiet"`
	Swapping Quantiles `json:"swapping"`
	// Failed counts steps that failed, Again deliveries that were given back
	// unfinished, while the plugin was swapped.
	Failed int `json:"failed"`
	Again  int `json:"again"`
}

const (
	// swapGap is the time between two swaps.
	swapGap = 300 * time.Millisecond
	// The load: a batch of messages every few milliseconds, about 1,000 a second.
	loadBatch = 5
	loadGap   = 5 * time.Millisecond
)

func swap(ctx context.Context, conn *pgx.Conn, opts Options) (*Swap, error) {
	result := &Swap{Swaps: opts.Swaps}
	err := withHost(ctx, conn, opts, nil, func(ctx context.Context, h *host.Host) (err error) {
		result.Quiet, _, err = underLoad(ctx, conn, opts, func(context.Context) error { return nil })
		return err
	})
	if err != nil {
		return nil, err
	}
	err = withHost(ctx, conn, opts, nil, func(ctx context.Context, h *host.Host) (err error) {
		result.Swapping, result.Steps, err = underLoad(ctx, conn, opts, func(ctx context.Context) error {
			_, err := h.ReloadPlugin(ctx, pluginName)
			return err
		})
		for _, ns := range h.Status(ctx).Namespaces {
			result.Failed += int(ns.Failed)  //nolint:gosec // a count of steps
			result.Again += int(ns.Released) //nolint:gosec // a count of steps
		}
		return err
	})
	return result, err
}

// underLoad sends messages at a constant rate, calls disturb from time to time,
// and returns the latencies of all messages and their number.
func underLoad(ctx context.Context, conn *pgx.Conn, opts Options, disturb func(context.Context) error) (Quantiles, int, error) {
	loading, stop := context.WithCancel(ctx)
	defer stop()
	sent := 0
	var group errgroup.Group
	group.Go(func() (err error) {
		sent, err = load(loading, opts.DSN)
		return err
	})
	group.Go(func() error {
		defer stop()
		for range opts.Swaps {
			if wait.For(ctx, swapGap) != nil {
				return ctx.Err()
			}
			if err := disturb(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return Quantiles{}, 0, err
	}
	latencies, err := settlements(ctx, conn, sent)
	return latencies, sent, err
}

// load sends messages until ctx ends and returns how many.
func load(ctx context.Context, dsn string) (sent int, err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, fmt.Errorf("connect the producer: %w", err)
	}
	whole := context.WithoutCancel(ctx)
	defer func() { _ = conn.Close(whole) }()
	ticker := time.NewTicker(loadGap)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return sent, nil
		case <-ticker.C:
		}
		// What has begun is sent whole, so that the count is right.
		if _, err := conn.Exec(whole, `SELECT pgmq.send_batch($1::text, array_fill('{"x": 1}'::jsonb, ARRAY[$2::int]))`, queue, loadBatch); err != nil {
			return sent, fmt.Errorf("send messages: %w", err)
		}
		sent += loadBatch
	}
}

// settlements waits until all messages are archived and returns how long each
// took.
func settlements(ctx context.Context, conn *pgx.Conn, want int) (Quantiles, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		rows, err := conn.Query(ctx, `SELECT archived_at - enqueued_at FROM pgmq.a_`+queue)
		if err != nil {
			return Quantiles{}, fmt.Errorf("read the archive: %w", err)
		}
		latencies, err := pgx.CollectRows(rows, pgx.RowTo[time.Duration])
		if err != nil {
			return Quantiles{}, fmt.Errorf("read the archive: %w", err)
		}
		if len(latencies) >= want {
			return quantiles(latencies), nil
		}
		if wait.For(ctx, 10*time.Millisecond) != nil {
			return Quantiles{}, fmt.Errorf("%d of %d messages were settled within %v", len(latencies), want, patience)
		}
	}
}
