package growth

import (
	"context"
	"errors"
	"fmt"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// deep drains the same number of steps from a small queue, from one with millions
// behind them, and beside an archive of millions, in turns.
func deep(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	millions := suite.Pick(env.Form, 5_000_000, 500_000, 2_000)
	steps := suite.Pick(env.Form, 50_000, 20_000, 200)
	contenders := []*deepQueue{
		{label: fmt.Sprintf("%d queued", steps), queued: steps},
		{label: fmt.Sprintf("%d queued", millions), queued: millions},
		{label: fmt.Sprintf("%d queued, %d archived", steps, millions), queued: steps, archived: millions},
	}
	defer func() {
		for _, c := range contenders {
			err = errors.Join(err, c.stop(ctx))
		}
	}()
	for _, c := range contenders {
		env.Log.Info("growth", "fill", c.label)
		if err := c.start(ctx, env); err != nil {
			return result, fmt.Errorf("%s: %w", c.label, err)
		}
	}
	for round := range env.Rounds + 1 {
		for _, c := range contenders {
			rate, err := c.round(ctx, steps)
			if err != nil {
				return result, fmt.Errorf("%s: %w", c.label, err)
			}
			if round > 0 { // the first one is to warm up
				c.rates = append(c.rates, rate)
			}
		}
	}
	for _, c := range contenders {
		if err := c.verify(ctx); err != nil {
			return result, fmt.Errorf("%s: %w", c.label, err)
		}
	}
	small, deep, archived := contenders[0].rates, contenders[1].rates, contenders[2].rates
	result.Figures = []suite.Figure{
		suite.Of("drain_5m_vs_50k", "x", stat.Ratios(deep, small)).WithGoal(suite.AtLeast(0.9, 0)),
		suite.Of("drain_5m_archived_vs_0", "x", stat.Ratios(archived, small)),
		suite.Of("drain_5m", "steps/s", deep),
		suite.Of("drain_50k", "steps/s", small),
	}
	return result, nil
}

// deepQueue is a host on a database of its own.
type deepQueue struct {
	label    string
	queued   int // when a round begins
	archived int // at first
	db       *suite.Database
	host     *hostproc.Host
	filled   int
	rates    stat.Sample
}

func (q *deepQueue) start(ctx context.Context, env *suite.Env) (err error) {
	if q.db, err = newDatabase(ctx, env); err != nil {
		return err
	}
	config := hostproc.Config{DSN: q.db.DSN, Plugin: env.Programs.Noop, Slots: 2000, Batch: 1000}
	if q.host, err = hostproc.Start(ctx, env, config.HCL()); err != nil {
		return err
	}
	if _, err := q.host.Admin.SetPaused(ctx, hostproc.Namespace, true); err != nil {
		return err
	}
	if q.archived > 0 {
		if err := q.fillArchive(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fillArchive archives messages that were sent before all others.
func (q *deepQueue) fillArchive(ctx context.Context) error {
	_, err := q.db.Conn.Exec(ctx, `INSERT INTO `+archiveTable+` (msg_id, vt, message)
		SELECT -n, clock_timestamp(), jsonb_build_object('n', -1, 'pad', repeat('x', $1::int)) FROM generate_series($2::int, 1, -1) n`, padding, q.archived)
	if err != nil {
		return fmt.Errorf("archive %d messages: %w", q.archived, err)
	}
	return nil
}

// round fills the queue up, drains steps and returns how many that was a second. The
// host may have gone on for longer than a round asked, before it was paused again.
func (q *deepQueue) round(ctx context.Context, steps int) (float64, error) {
	left, err := q.db.Count(ctx, `SELECT count(*) FROM `+table)
	if err != nil {
		return 0, err
	}
	missing := q.queued - left
	q.filled += missing
	if err := Fill(ctx, q.db, missing); err != nil {
		return 0, err
	}
	if err := q.db.Settle(ctx); err != nil {
		return 0, err
	}
	rate, err := resume(ctx, q.host, steps)
	if err != nil {
		return 0, err
	}
	_, err = q.host.Admin.SetPaused(ctx, hostproc.Namespace, true)
	return rate, err
}

// verify fails unless each message is either still queued or archived once.
func (q *deepQueue) verify(ctx context.Context) error {
	settled, err := q.host.Succeeded(ctx, hostproc.Namespace)
	if err != nil {
		return err
	}
	var queued, archived int
	err = q.db.Conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM `+table+`), (SELECT count(*) FROM `+archiveTable+`)`).Scan(&queued, &archived)
	if err != nil {
		return err
	}
	if queued+archived != q.filled+q.archived || archived < settled+q.archived {
		return fmt.Errorf("the database counts %d queued and %d archived of %d and %d, and the host %d settled", queued, archived, q.filled, q.archived, settled)
	}
	return nil
}

func (q *deepQueue) stop(ctx context.Context) (err error) {
	if q.host != nil {
		err = q.host.Stop(ctx)
	}
	if q.db != nil {
		err = errors.Join(err, q.db.Close(ctx))
	}
	return err
}
