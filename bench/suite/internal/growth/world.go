package growth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/suite"
	"github.com/stephost/stephost/internal/wait"
)

const (
	table        = "pgmq.q_" + hostproc.Queue
	archiveTable = "pgmq.a_" + hostproc.Queue
	// padding makes a body of about 200 bytes.
	padding = 180
)

// newDatabase makes a database with empty queues.
func newDatabase(ctx context.Context, env *suite.Env) (*suite.Database, error) {
	db, err := env.Database(ctx)
	if err != nil {
		return nil, err
	}
	if err := db.CreateQueues(ctx, hostproc.Queue, hostproc.DeadQueue); err != nil {
		return nil, errors.Join(err, db.Close(ctx))
	}
	return db, nil
}

// Fill queues so many messages of about 200 bytes in one statement, due one after
// the other. Their field n is -1.
func Fill(ctx context.Context, db *suite.Database, messages int) error {
	return fill(ctx, db, table, "clock_timestamp()", 0, messages)
}

// fill inserts messages that become visible at vt, an expression, and were read so
// often.
func fill(ctx context.Context, db *suite.Database, into, vt string, readCount, messages int) error {
	_, err := db.Conn.Exec(ctx, `INSERT INTO `+into+` (vt, read_ct, message)
		SELECT `+vt+`, $3::int, jsonb_build_object('n', -1, 'pad', repeat('x', $1::int)) FROM generate_series(1, $2::int)`, padding, messages, readCount)
	if err != nil {
		return fmt.Errorf("queue %d messages: %w", messages, err)
	}
	return nil
}

// holdHorizon begins a transaction whose snapshot keeps every row that is deleted
// from now on, until release is called.
func holdHorizon(ctx context.Context, env *suite.Env, db *suite.Database) (release func() error, err error) {
	conn, err := env.Connect(ctx, db.DSN)
	if err != nil {
		return nil, err
	}
	release = func() error { return conn.Close(context.WithoutCancel(ctx)) }
	if _, err := conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class`, pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, errors.Join(fmt.Errorf("hold the xmin horizon: %w", err), release())
	}
	return release, nil
}

// drain pauses the host, queues steps, and measures how many a second it settles
// once it goes on.
func drain(ctx context.Context, db *suite.Database, h *hostproc.Host, steps int) (float64, error) {
	if _, err := h.Admin.SetPaused(ctx, hostproc.Namespace, true); err != nil {
		return 0, err
	}
	if err := Fill(ctx, db, steps); err != nil {
		return 0, err
	}
	if err := db.Exec(ctx, "CHECKPOINT"); err != nil {
		return 0, err
	}
	return resume(ctx, h, steps)
}

// resume lets a paused host go on and measures how many steps a second it settles,
// up to so many.
func resume(ctx context.Context, h *hostproc.Host, steps int) (float64, error) {
	before, err := h.Succeeded(ctx, hostproc.Namespace)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := h.Admin.SetPaused(ctx, hostproc.Namespace, false); err != nil {
		return 0, err
	}
	after, err := waitFor(ctx, h, before+steps)
	return float64(after-before) / time.Since(began).Seconds(), err
}

// waitFor waits until the host has settled so many steps, and returns how many it
// then has. It asks every 2 ms.
func waitFor(ctx context.Context, h *hostproc.Host, steps int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		n, err := h.Succeeded(ctx, hostproc.Namespace)
		if err != nil || n >= steps {
			return n, err
		}
		if err := wait.For(ctx, 2*time.Millisecond); err != nil {
			return n, fmt.Errorf("%d of %d steps were settled: %w", n, steps, err)
		}
	}
}

// verify fails unless exactly so many messages are archived and none is left.
func verify(ctx context.Context, db *suite.Database, archived int) error {
	for name, want := range map[string]int{table: 0, archiveTable: archived} {
		got, err := db.Count(ctx, `SELECT count(*) FROM `+name)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("the database counts %d rows in %s instead of %d", got, name, want)
		}
	}
	return nil
}
