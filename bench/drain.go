package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/host"
)

// Drain is the throughput of a full queue.
type Drain struct {
	Steps      int     `json:"steps"`
	Slots      int     `json:"slots"`
	Seconds    float64 `json:"seconds"`
	Throughput float64 `json:"steps_per_second"`
	// Archived is how many messages the database counts as settled.
	Archived int `json:"archived"`
}

// bodySize is about the size of a message body in bytes.
const bodySize = 200

// drain queues all steps for a paused host, lets it go, and counts.
func drain(ctx context.Context, h *host.Host, conn *pgx.Conn, opts Options) (*Drain, Memory, error) {
	if err := h.SetPaused(ctx, namespace, true); err != nil {
		return nil, Memory{}, err
	}
	if err := enqueue(ctx, conn, opts.Steps); err != nil {
		return nil, Memory{}, err
	}
	memory := readMemory()
	start := time.Now()
	if err := h.SetPaused(ctx, namespace, false); err != nil {
		return nil, memory, err
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for done(ctx, h) < opts.Steps {
		select {
		case <-ctx.Done():
			return nil, memory, fmt.Errorf("%d of %d steps were settled: %w", done(ctx, h), opts.Steps, ctx.Err())
		case <-ticker.C:
		}
	}
	elapsed := time.Since(start)
	after := readMemory()
	memory.Peak = after.Peak
	result := &Drain{
		Steps: opts.Steps, Slots: opts.Slots,
		Seconds: elapsed.Seconds(), Throughput: float64(opts.Steps) / elapsed.Seconds(),
	}
	err := conn.QueryRow(ctx, `SELECT count(*) FROM pgmq.a_`+queue).Scan(&result.Archived)
	if err == nil && result.Archived != opts.Steps {
		err = fmt.Errorf("the database counts %d settled steps of %d", result.Archived, opts.Steps)
	}
	return result, memory, err
}

func done(ctx context.Context, h *host.Host) int {
	return int(h.Settled(ctx, namespace)) //nolint:gosec // a count of steps
}

// enqueue inserts all steps in one statement: what is measured is the drain.
func enqueue(ctx context.Context, conn *pgx.Conn, steps int) error {
	_, err := conn.Exec(ctx, `INSERT INTO pgmq.q_`+queue+` (vt, message)
		SELECT clock_timestamp(), jsonb_build_object('n', n, 'pad', repeat('x', $1::int))
		FROM generate_series(1, $2::int) n`, bodySize-20, steps)
	if err != nil {
		return fmt.Errorf("queue %d steps: %w", steps, err)
	}
	for _, sql := range []string{`VACUUM ANALYZE pgmq.q_` + queue, `CHECKPOINT`} {
		// Only for steadier figures; a user without the right measures all the same.
		_, _ = conn.Exec(ctx, sql)
	}
	return ctx.Err()
}
