package pickup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/stamps"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// hostSide is a host with the stamping plugin, and a producer.
type hostSide struct {
	db     *suite.Database
	host   *hostproc.Host
	stamps *stamps.Stamps
	sent   int
}

// startHost starts a host for at most so many messages.
func startHost(ctx context.Context, env *suite.Env, messages int) (_ *hostSide, err error) {
	s := &hostSide{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop(ctx))
		}
	}()
	if s.db, err = env.Database(ctx); err != nil {
		return nil, err
	}
	if err = s.db.CreateQueues(ctx, hostproc.Queue, hostproc.DeadQueue); err != nil {
		return nil, err
	}
	var file string
	if s.stamps, file, err = stamps.Create(env.Dir, messages); err != nil {
		return nil, err
	}
	config := hostproc.Config{DSN: s.db.DSN, Plugin: env.Programs.Self, Args: []string{stamps.PluginCommand, file}}
	s.host, err = hostproc.Start(ctx, env, config.HCL())
	return s, err
}

func (s *hostSide) sample(ctx context.Context, n int) (got latencies, err error) {
	for range n {
		if err := pause(ctx); err != nil {
			return got, err
		}
		sent := stamps.Now()
		_, err := s.db.Conn.Exec(ctx, `SELECT pgmq.send($1::text, jsonb_build_object('n', $2::int))`, hostproc.Queue, s.sent)
		if err != nil {
			return got, fmt.Errorf("send a message: %w", err)
		}
		committed := stamps.Now()
		started, ok := s.stamps.Wait(s.sent, patience)
		if !ok {
			return got, fmt.Errorf("message %d was not picked up within %v", s.sent, patience)
		}
		got.add(time.Duration(started-sent), time.Duration(committed-sent))
		s.sent++
	}
	// What was picked up is settled as well.
	return got, s.host.WaitSucceeded(ctx, hostproc.Namespace, s.sent)
}

func (s *hostSide) stop(ctx context.Context) error {
	var errs []error
	if s.host != nil {
		errs = append(errs, s.host.Stop(ctx))
	}
	if s.stamps != nil {
		errs = append(errs, s.stamps.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close(ctx))
	}
	return errors.Join(errs...)
}
