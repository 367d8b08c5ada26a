package growth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/proc"
	"github.com/stephost/stephost/bench/suite/internal/stamps"
	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
	"github.com/stephost/stephost/internal/wait"
)

const (
	offeredRate = 2000 // messages per second
	sendEvery   = 5 * time.Millisecond
	sendBatch   = offeredRate / int(time.Second/sendEvery)
)

// horizon offers a steady load while the xmin horizon is held.
func horizon(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	length := suite.Pick(env.Form, 10*time.Minute, 20*time.Second, time.Second)
	backlog := suite.Pick(env.Form, 100_000, 50_000, 500)
	windows := suite.Pick(env.Form, 10, 4, 2)
	messages := int(length.Seconds() * offeredRate)

	db, err := newDatabase(ctx, env)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, db.Close(ctx)) }()
	marks, file, err := stamps.Create(env.Dir, messages)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, marks.Close()) }()
	config := hostproc.Config{DSN: db.DSN, Plugin: env.Programs.Self, Args: []string{stamps.PluginCommand, file}, Slots: 1000, Batch: 500}
	h, err := hostproc.Start(ctx, env, config.HCL())
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, h.Stop(ctx)) }()

	if _, err := drain(ctx, db, h, backlog); err != nil { // to warm up
		return result, err
	}
	before, err := drain(ctx, db, h, backlog)
	if err != nil {
		return result, err
	}
	release, err := holdHorizon(ctx, env, db)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, release()) }()
	held := &heldLoad{env: env, db: db, host: h, marks: marks, done: 2 * backlog, sentAt: make([]int64, 0, messages)}
	for range windows {
		if err := held.window(ctx, length/time.Duration(windows), messages/windows); err != nil {
			return result, err
		}
	}
	sent := len(held.sentAt)
	if _, err := waitFor(ctx, h, 2*backlog+sent); err != nil {
		return result, err
	}
	after, err := drain(ctx, db, h, backlog)
	if err != nil {
		return result, err
	}
	result.Figures = []suite.Figure{
		suite.Of("horizon_throughput", "x", held.achieved).WithGoal(suite.AtLeast(0.8, 0)),
		{Name: "horizon_drain", Value: after / before, Unit: "x"},
		{Name: "horizon_pickup_p99", Value: held.p99[len(held.p99)-1], Unit: "ms"},
	}
	// What counts is how it ends.
	result.Figures[0].Value = held.achieved[len(held.achieved)-1]
	result.Notes = []string{
		fmt.Sprintf("Drain of %d steps: %.0f steps/s before, %.0f steps/s after %v with the xmin horizon held.", backlog, before, after, length),
		"horizon_throughput is that of the last part: steps settled / steps offered.",
	}
	result.Tables = []suite.Table{{
		Title:  fmt.Sprintf("%d steps/s offered while the xmin horizon is held", offeredRate),
		Header: []string{"until", "offered/s", "settled/s", "pickup p50 ms", "pickup p99 ms", "cores of PostgreSQL", "dead rows"},
		Rows:   held.rows,
	}}
	return result, verify(ctx, db, 3*backlog+sent)
}

// heldLoad offers messages and looks at what becomes of them.
type heldLoad struct {
	env    *suite.Env
	db     *suite.Database
	host   *hostproc.Host
	marks  *stamps.Stamps
	done   int     // what the host has settled when the window begins
	sentAt []int64 // of each message, in stamps' time

	elapsed       time.Duration
	achieved, p99 stat.Sample
	rows          [][]string
}

// window offers so many messages, evenly spread over the time.
func (l *heldLoad) window(ctx context.Context, length time.Duration, messages int) error {
	cpu, err := proc.CPU(l.env.Postgres.Pid())
	if err != nil {
		return err
	}
	first, began := len(l.sentAt), time.Now()
	for sent := 0; sent < messages; sent += sendBatch {
		if err := wait.For(ctx, time.Until(began.Add(time.Duration(sent)*time.Second/offeredRate))); err != nil {
			return err
		}
		if err := l.send(ctx, min(sendBatch, messages-sent)); err != nil {
			return err
		}
	}
	if err := wait.For(ctx, time.Until(began.Add(length))); err != nil {
		return err
	}
	took := time.Since(began)
	done, err := l.host.Succeeded(ctx, hostproc.Namespace)
	if err != nil {
		return err
	}
	after, err := proc.CPU(l.env.Postgres.Pid())
	if err != nil {
		return err
	}
	dead, err := l.db.Count(ctx, `SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = '`+table+`'::regclass`)
	if err != nil {
		return err
	}
	// Those of the end are still under way: one that was never picked up shows in the
	// count of what was settled.
	var latencies stat.Sample
	for i := first; i < len(l.sentAt); i++ {
		if at := l.marks.At(i); at != 0 {
			latencies = append(latencies, float64(at-l.sentAt[i])/1e6)
		}
	}
	if len(latencies) == 0 {
		return errors.New("no message was picked up")
	}
	settled := done - l.done
	l.done, l.elapsed = done, l.elapsed+took
	l.achieved = append(l.achieved, float64(settled)/float64(messages))
	l.p99 = append(l.p99, latencies.Quantile(0.99))
	l.rows = append(l.rows, []string{
		l.elapsed.Round(time.Second).String(),
		suite.Number(float64(messages) / took.Seconds()), suite.Number(float64(settled) / took.Seconds()),
		suite.Number(latencies.Median()), suite.Number(latencies.Quantile(0.99)),
		suite.Number((after - cpu).Seconds() / took.Seconds()), fmt.Sprint(dead),
	})
	l.env.Log.Info("horizon", "row", l.rows[len(l.rows)-1])
	return nil
}

func (l *heldLoad) send(ctx context.Context, messages int) error {
	at, first := stamps.Now(), len(l.sentAt)
	_, err := l.db.Conn.Exec(ctx, `SELECT pgmq.send_batch($1::text, ARRAY(
		SELECT jsonb_build_object('n', i, 'pad', repeat('x', $4::int)) FROM generate_series($2::int, $3::int) i))`,
		hostproc.Queue, first, first+messages-1, padding)
	if err != nil {
		return fmt.Errorf("send messages: %w", err)
	}
	for range messages {
		l.sentAt = append(l.sentAt, at)
	}
	return nil
}
