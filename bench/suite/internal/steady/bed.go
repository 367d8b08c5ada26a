package steady

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/stamps"
	"github.com/stephost/stephost/bench/suite/internal/suite"
	"github.com/stephost/stephost/internal/wait"
)

// patience bounds the wait for one message, and for the end of a run.
const patience = 2 * time.Minute

// bed is a host with the stamping plugin on a database of its own.
type bed struct {
	env    *suite.Env
	db     *suite.Database
	host   *hostproc.Host
	stamps *stamps.Stamps
}

func open(ctx context.Context, env *suite.Env, config hostproc.Config, messages int) (_ *bed, err error) {
	b := &bed{env: env}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(ctx))
		}
	}()
	if b.db, err = env.Database(ctx); err != nil {
		return nil, err
	}
	if err = b.db.CreateQueues(ctx, hostproc.Queue, hostproc.DeadQueue); err != nil {
		return nil, err
	}
	var file string
	if b.stamps, file, err = stamps.Create(env.Dir, messages); err != nil {
		return nil, err
	}
	config.DSN, config.Plugin, config.Args = b.db.DSN, env.Programs.Self, []string{stamps.PluginCommand, file}
	b.host, err = hostproc.Start(ctx, env, config.HCL())
	return b, err
}

func (b *bed) close(ctx context.Context) error {
	var errs []error
	if b.host != nil {
		errs = append(errs, b.host.Stop(ctx))
	}
	if b.stamps != nil {
		errs = append(errs, b.stamps.Close())
	}
	if b.db != nil {
		errs = append(errs, b.db.Close(ctx))
	}
	return errors.Join(errs...)
}

// settled waits until so many steps are done and counts them in the database.
func (b *bed) settled(ctx context.Context, messages int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := b.host.WaitSucceeded(ctx, hostproc.Namespace, messages); err != nil {
		return err
	}
	n, err := b.db.Count(ctx, `SELECT count(*) FROM pgmq.a_`+hostproc.Queue)
	if err == nil && n != messages {
		err = fmt.Errorf("%d messages were sent and %d are in the archive", messages, n)
	}
	return err
}

// sendBatch sends the messages from one number to before another one.
func sendBatch(ctx context.Context, conn *pgx.Conn, from, to int) error {
	_, err := conn.Exec(ctx, `SELECT count(*) FROM pgmq.send_batch($1::text, ARRAY(
		SELECT jsonb_build_object('n', n, 'pad', repeat('x', 170)) FROM generate_series($2::int, $3::int) n))`, hostproc.Queue, from, to-1)
	if err != nil {
		return fmt.Errorf("send %d messages: %w", to-from, err)
	}
	return nil
}

// lone sends one message after a pause, and returns its latency in milliseconds.
func (b *bed) lone(ctx context.Context, place int, pause time.Duration) (float64, error) {
	if wait.For(ctx, pause) != nil {
		return 0, ctx.Err()
	}
	sent := stamps.Now()
	if err := sendBatch(ctx, b.db.Conn, place, place+1); err != nil {
		return 0, err
	}
	started, ok := b.stamps.Wait(place, patience)
	if !ok {
		return 0, fmt.Errorf("message %d was not picked up within %v", place, patience)
	}
	return float64(started-sent) / 1e6, nil
}

// timetable is a steady load.
type timetable struct {
	producers int
	perSecond int
	// batch is how many messages a statement sends; 0: one, as pgmq.send.
	batch   int
	seconds float64
	// window, if it is not 0, replaces the times: a producer sends as soon as at most
	// that many messages before its own ones are not picked up yet.
	window int
}

// statements is how many each producer sends.
func (t timetable) statements() int {
	return max(1, int(t.seconds*float64(t.perSecond))/(t.producers*max(1, t.batch)))
}

func (t timetable) messages() int { return t.statements() * t.producers * max(1, t.batch) }

// send keeps to a timetable and returns when each message was sent.
func (b *bed) send(ctx context.Context, t timetable) ([]int64, error) {
	sent := make([]int64, t.messages())
	size := max(1, t.batch)
	every := time.Second * time.Duration(size*t.producers) / time.Duration(max(1, t.perSecond))
	conns := make([]*pgx.Conn, t.producers)
	for i := range conns {
		var err error
		if conns[i], err = b.env.Connect(ctx, b.db.DSN); err != nil {
			return nil, err
		}
		defer func() { _ = conns[i].Close(context.WithoutCancel(ctx)) }()
	}
	group, ctx := errgroup.WithContext(ctx)
	var begin sync.Once
	var start time.Time
	for i, conn := range conns {
		group.Go(func() error {
			begin.Do(func() { start = time.Now() })
			for k := range t.statements() {
				from := (k*t.producers + i) * size
				due := start.Add(every*time.Duration(k) + every*time.Duration(i)/time.Duration(t.producers))
				if t.window > 0 {
					due = start
					if ahead := from - t.window; ahead >= 0 {
						if _, ok := b.stamps.Wait(ahead, patience); !ok {
							return fmt.Errorf("message %d was not picked up within %v", ahead, patience)
						}
					}
				}
				if wait.For(ctx, time.Until(due)) != nil {
					return ctx.Err()
				}
				now := stamps.Now()
				for n := range size {
					sent[from+n] = now
				}
				if err := b.sendOnce(ctx, conn, from, t.batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return sent, group.Wait()
}

func (b *bed) sendOnce(ctx context.Context, conn *pgx.Conn, from, size int) error {
	if size > 0 {
		return sendBatch(ctx, conn, from, from+size)
	}
	if _, err := conn.Exec(ctx, `SELECT pgmq.send($1::text, jsonb_build_object('n', $2::int))`, hostproc.Queue, from); err != nil {
		return fmt.Errorf("send a message: %w", err)
	}
	return nil
}
