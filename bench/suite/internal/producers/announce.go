package producers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// shape is how producers send.
type shape struct {
	connections int
	// rows of a statement, statements of a transaction.
	rows, statements int
}

func (s shape) String() string {
	return fmt.Sprintf("%d connections, %d statements of %d rows", s.connections, s.statements, s.rows)
}

// announcing compares producers of a queue whose trigger announces messages, to
// somebody who listens, with producers of one that has no trigger. Short turns
// alternate, in random order.
func announcing(ctx context.Context, env *suite.Env, result *suite.Result) (err error) {
	db, err := env.Database(ctx)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, db.Close(ctx)) }()
	queues := []string{"silent", "announced"}
	if err := db.CreateQueues(ctx, queues...); err != nil {
		return err
	}
	if err := db.Exec(ctx, `SELECT pgmq.disable_notify_insert('silent')`); err != nil {
		return err
	}
	stop, err := listen(ctx, env, db)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, stop()) }()

	shapes := suite.Pick(env.Form,
		[]shape{{1, 1, 1}, {8, 1, 1}, {16, 1, 1}, {8, 10, 1}, {8, 1, 10}, {8, 1, 100}},
		[]shape{{8, 1, 1}, {16, 1, 1}, {8, 1, 10}}, []shape{{2, 1, 1}, {1, 2, 3}})
	turns := suite.Pick(env.Form, 15, 9, 1)
	turn := suite.Pick(env.Form, 500*time.Millisecond, 300*time.Millisecond, 50*time.Millisecond)
	table := suite.Table{Title: "What the notify trigger costs producers", Header: []string{"producers", "rows/s without", "rows/s with", "cost %", "MAD"}}
	worst := suite.Figure{Name: "notify_cost_percent", Unit: "%"}
	for _, s := range shapes {
		producers, closeAll, err := connect(ctx, env, db, s.connections)
		if err != nil {
			return err
		}
		var rates [2]stat.Sample
		for turnAt := range turns + 1 {
			order := rand.Perm(2)
			for _, at := range order {
				if err := db.Exec(ctx, `TRUNCATE pgmq.q_`+queues[at]); err != nil {
					return err
				}
				rate, err := produce(ctx, producers, db, queues[at], s, turn)
				if err != nil {
					return err
				}
				if turnAt > 0 { // the first one is warm-up
					rates[at] = append(rates[at], rate)
				}
			}
		}
		if err := closeAll(); err != nil {
			return err
		}
		cost := make(stat.Sample, turns)
		for i, r := range stat.Ratios(rates[1], rates[0]) {
			cost[i] = 100 * (1 - r)
		}
		table.Rows = append(table.Rows, []string{s.String(), suite.Number(rates[0].Median()), suite.Number(rates[1].Median()), fmt.Sprintf("%.1f", cost.Median()), fmt.Sprintf("%.1f", cost.MAD())})
		if cost.Median() >= worst.Value {
			worst.Value, worst.MAD, worst.N = cost.Median(), cost.MAD(), len(cost)
		}
	}
	worst.Goal = suite.AtMost(15)
	result.Figures = append(result.Figures, worst)
	result.Tables = append(result.Tables, table)
	result.Notes = append(result.Notes, "notify_cost_percent is that of the shape of producers which pays most; statements are in one transaction, and a listener is there.")
	return nil
}

// listen takes notifications in until it is stopped.
func listen(ctx context.Context, env *suite.Env, db *suite.Database) (stop func() error, err error) {
	conn, err := env.Connect(ctx, db.DSN)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `LISTEN "pgmq.q_announced.INSERT"`); err != nil {
		return nil, err
	}
	listening, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := conn.WaitForNotification(listening); err != nil {
				return
			}
		}
	}()
	return func() error {
		end()
		<-done
		return conn.Close(context.WithoutCancel(ctx))
	}, nil
}

// connect opens the producers' connections, which stay for all turns: what a
// session learns at its first send is not what is measured.
func connect(ctx context.Context, env *suite.Env, db *suite.Database, n int) (conns []*pgx.Conn, closeAll func() error, err error) {
	closeAll = func() error {
		var errs []error
		for _, conn := range conns {
			errs = append(errs, conn.Close(context.WithoutCancel(ctx)))
		}
		return errors.Join(errs...)
	}
	for range n {
		conn, err := env.Connect(ctx, db.DSN)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		conns = append(conns, conn)
	}
	return conns, closeAll, nil
}

// produce sends for a while and returns how many rows that were a second.
func produce(ctx context.Context, conns []*pgx.Conn, db *suite.Database, queue string, s shape, turn time.Duration) (rate float64, err error) {
	sql := `INSERT INTO pgmq.q_` + queue + ` (vt, message) VALUES ` + strings.TrimSuffix(strings.Repeat(`(clock_timestamp(), '`+body(0)+`'::jsonb),`, s.rows), ",")
	group, sending := errgroup.WithContext(ctx)
	counts := make([]int, len(conns))
	began := time.Now()
	for i, conn := range conns {
		group.Go(func() error {
			for time.Since(began) < turn {
				if err := transact(sending, conn, sql, s.statements); err != nil {
					return fmt.Errorf("produce: %w", err)
				}
				counts[i] += s.rows * s.statements
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	rows := 0
	for _, n := range counts {
		rows += n
	}
	rate = float64(rows) / time.Since(began).Seconds()
	return rate, counted(ctx, db, queue, rows)
}

func transact(ctx context.Context, conn *pgx.Conn, sql string, statements int) error {
	if statements == 1 {
		// Prepared; without parameters pgx would not.
		_, err := conn.Exec(ctx, sql, pgx.QueryExecModeCacheStatement)
		return err
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for range statements {
			if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeCacheStatement); err != nil {
				return err
			}
		}
		return nil
	})
}
