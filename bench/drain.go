package bench

import (
	"context"
	"fmt"
	"runtime"
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
	// AllocatedBytes and AllocatedObjects are what this process, host and
	// measuring together, allocated for each step.
	AllocatedBytes   float64 `json:"allocated_bytes_per_step"`
	AllocatedObjects float64 `json:"allocated_objects_per_step"`
}

// bodySize is about the size of a message body in bytes, where nothing else is
// asked for.
const bodySize = 200

// drain queues all steps for a paused host, lets it go, and counts.
func drain(ctx context.Context, h *host.Host, conn *pgx.Conn, opts Options) (*Drain, Memory, error) {
	if err := h.SetPaused(ctx, namespace, true); err != nil {
		return nil, Memory{}, err
	}
	if err := enqueue(ctx, conn, opts); err != nil {
		return nil, Memory{}, err
	}
	memory := readMemory()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
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
	runtime.ReadMemStats(&after)
	memory.Peak = readMemory().Peak
	result := &Drain{
		Steps: opts.Steps, Slots: opts.Slots,
		Seconds: elapsed.Seconds(), Throughput: float64(opts.Steps) / elapsed.Seconds(),
		AllocatedBytes:   float64(after.TotalAlloc-before.TotalAlloc) / float64(opts.Steps),
		AllocatedObjects: float64(after.Mallocs-before.Mallocs) / float64(opts.Steps),
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
func enqueue(ctx context.Context, conn *pgx.Conn, opts Options) error {
	body := opts.Body
	if body == 0 {
		body = bodySize
	}
	_, err := conn.Exec(ctx, `INSERT INTO pgmq.q_`+queue+` (vt, message)
		SELECT clock_timestamp(), jsonb_build_object('n', n, 'pad', repeat('x', $1::int))
		FROM generate_series(1, $2::int) n`, body-20, opts.Steps)
	if err != nil {
		return fmt.Errorf("queue %d steps: %w", opts.Steps, err)
	}
	for _, sql := range []string{`VACUUM ANALYZE pgmq.q_` + queue, `CHECKPOINT`} {
		// Only for steadier figures; a user without the right measures all the same.
		_, _ = conn.Exec(ctx, sql)
	}
	return ctx.Err()
}
