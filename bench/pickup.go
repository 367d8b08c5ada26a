package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/internal/wait"
)

// Pickup is how long a message into an idle queue takes to the start of its
// handler in the plugin process.
type Pickup struct {
	Samples int `json:"samples"`
	// FromCommit counts from the producer having learned of its commit.
	FromCommit Quantiles `json:"from_commit"`
	// FromSend counts from just before the producer's autocommit send, which
	// includes the flush of its commit to disk.
	FromSend Quantiles `json:"from_send"`
}

// Quantiles of a latency.
type Quantiles struct {
	P50 time.Duration `json:"p50_ns"`
	P95 time.Duration `json:"p95_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

func quantiles(latencies []time.Duration) Quantiles {
	slices.Sort(latencies)
	at := func(q float64) time.Duration { return latencies[int(q*float64(len(latencies)-1))] }
	return Quantiles{P50: at(0.50), P95: at(0.95), P99: at(0.99), Max: at(1)}
}

// patience bounds the wait for one message.
const patience = 30 * time.Second

func pickup(ctx context.Context, conn *pgx.Conn, settled <-chan host.StepEvent, samples int) (*Pickup, error) {
	const warmUp = 20
	fromSend := make([]time.Duration, 0, samples)
	fromCommit := make([]time.Duration, 0, samples)
	for i := range samples + warmUp {
		// Uneven gaps, so that no timer of the host is in step with the producer.
		if wait.For(ctx, 20*time.Millisecond+time.Duration(i%7)*time.Millisecond) != nil {
			return nil, ctx.Err()
		}
		sent := time.Now()
		if _, err := conn.Exec(ctx, `SELECT pgmq.send($1::text, '{"x": 1}'::jsonb)`, queue); err != nil {
			return nil, fmt.Errorf("send a message: %w", err)
		}
		committed := time.Now()
		select {
		case e := <-settled:
			if i >= warmUp {
				// The plugin's reading has no monotonic part: compare wall clocks.
				fromSend = append(fromSend, e.StartedAt.Sub(sent.Round(0)))
				fromCommit = append(fromCommit, e.StartedAt.Sub(committed.Round(0)))
			}
		case <-time.After(patience):
			return nil, fmt.Errorf("message %d was not picked up within %v", i, patience)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &Pickup{Samples: samples, FromCommit: quantiles(fromCommit), FromSend: quantiles(fromSend)}, nil
}
