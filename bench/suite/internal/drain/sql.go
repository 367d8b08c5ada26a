package drain

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/stephost/stephost/bench/suite/internal/child"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// shape is how claims and settlements share connections.
type shape string

const (
	// alternate: each connection claims a batch, settles it, and so on.
	alternate shape = "alternate"
	// pipeline: each connection settles its last batch and claims the next in
	// one transaction, which is one round trip and one flush.
	pipeline shape = "pipeline"
	// loop is the plain consumer: pgmq.read, then pgmq.archive of the array.
	loop shape = "loop"
)

// sqlSetting is a way to empty a queue by SQL alone.
type sqlSetting struct {
	Shape       shape
	Batch       int
	Connections int
	Deleted     bool
	Results     bool
	DSN         string
}

const sqlChild = "sql-drain"

func (s sqlSetting) contender() contender {
	name := "SQL"
	if s.Shape == loop {
		name = "pgmq consumer"
	}
	return contender{
		label: fmt.Sprintf("%s, %s, %d connections, batch %d", name, s.Shape, s.Connections, s.Batch),
		work:  pgmqQueue{deleted: s.Deleted, results: s.Results},
		start: func(ctx context.Context, env *suite.Env, db *suite.Database) (runner, error) {
			s.DSN = db.DSN
			return startChild(ctx, env, sqlChild, s)
		},
	}
}

// SQLProgram empties queues by SQL, as a child.
func SQLProgram(ctx context.Context, config json.RawMessage, serve func(child.Answer) error) error {
	var s sqlSetting
	if err := json.Unmarshal(config, &s); err != nil {
		return err
	}
	pool, err := pgxpool.ParseConfig(s.DSN)
	if err != nil {
		return err
	}
	pool.MaxConns, pool.MinConns = int32(s.Connections), int32(s.Connections) //nolint:gosec // a small number
	db, err := pgxpool.NewWithConfig(ctx, pool)
	if err != nil {
		return err
	}
	defer db.Close()
	return serve(func(ctx context.Context, ask json.RawMessage) (any, error) {
		var r request
		if err := json.Unmarshal(ask, &r); err != nil {
			return nil, err
		}
		d := &sqlDrain{sqlSetting: s, pool: db, steps: int64(r.Steps)}
		err := d.run(ctx)
		return done{int(d.settled.Load())}, err
	})
}

// sqlDrain is one drain by SQL.
type sqlDrain struct {
	sqlSetting
	pool    *pgxpool.Pool
	steps   int64
	settled atomic.Int64
}

func (d *sqlDrain) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for range d.Connections {
		group.Go(func() error {
			return d.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
				w := &sqlWorker{sqlDrain: d, conn: c.Conn()}
				if d.Shape == pipeline {
					return w.pipeline(ctx)
				}
				return w.alternate(ctx)
			})
		})
	}
	return group.Wait()
}

// sqlWorker is one connection of a drain.
type sqlWorker struct {
	*sqlDrain
	conn  *pgx.Conn
	batch batch
}

// alternate works until all is settled, by whichever connection.
func (w *sqlWorker) alternate(ctx context.Context) error {
	for w.settled.Load() < w.steps {
		sql, args := w.claimSQL(), w.claimArgs()
		rows, err := w.conn.Query(ctx, sql, args...)
		if err := w.claimed(rows, err); err != nil {
			return err
		}
		if len(w.batch.ids) == 0 {
			continue
		}
		sql, args = w.settleSQL(), w.settleArgs()
		rows, err = w.conn.Query(ctx, sql, args...)
		if err := w.finished(rows, err); err != nil {
			return err
		}
	}
	return nil
}

func (w *sqlWorker) pipeline(ctx context.Context) error {
	for w.settled.Load() < w.steps {
		var b pgx.Batch
		settles := len(w.batch.ids) > 0
		if settles {
			b.Queue(w.settleSQL(), w.settleArgs()...)
		}
		b.Queue(w.claimSQL(), w.claimArgs()...)
		if err := w.exchange(ctx, &b, settles); err != nil {
			return err
		}
	}
	return nil
}

func (w *sqlWorker) exchange(ctx context.Context, b *pgx.Batch, settles bool) error {
	results := w.conn.SendBatch(ctx, b)
	defer results.Close()
	settled := 0
	if settles {
		rows, err := results.Query()
		if settled, err = countRows(rows, err); err != nil {
			return fmt.Errorf("settle: %w", err)
		}
		if settled != len(w.batch.ids) {
			return fmt.Errorf("settled %d of %d", settled, len(w.batch.ids))
		}
	}
	rows, err := results.Query()
	if err := w.claimed(rows, err); err != nil {
		return err
	}
	if err := results.Close(); err != nil {
		return err
	}
	w.settled.Add(int64(settled)) // it is committed
	return nil
}

func (w *sqlWorker) finished(rows pgx.Rows, err error) error {
	n, err := countRows(rows, err)
	if err == nil && n != len(w.batch.ids) {
		err = fmt.Errorf("settled %d of %d", n, len(w.batch.ids))
	}
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	w.settled.Add(int64(n))
	return nil
}

func countRows(rows pgx.Rows, err error) (n int, _ error) {
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		n++
	}
	return n, rows.Err()
}
