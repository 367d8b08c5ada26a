package pickup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/stephost/stephost/bench/suite/internal/child"
	"github.com/stephost/stephost/bench/suite/internal/riverclient"
	"github.com/stephost/stephost/bench/suite/internal/stamps"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// riverSide is River in a process of its own, producer and worker.
type riverSide struct {
	db    *suite.Database
	child *child.Child
}

const riverChild = "river-pickup"

type riverConfig struct{ DSN string }

type request struct{ Samples int }

func startRiver(ctx context.Context, env *suite.Env) (_ *riverSide, err error) {
	s := &riverSide{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop(ctx))
		}
	}()
	if s.db, err = env.Database(ctx); err != nil {
		return nil, err
	}
	if err = riverclient.Install(ctx, s.db.DSN); err != nil {
		return nil, err
	}
	s.child, err = child.Start(ctx, env, riverChild, riverConfig{DSN: s.db.DSN})
	return s, err
}

func (s *riverSide) sample(ctx context.Context, n int) (got latencies, err error) {
	err = s.child.Ask(ctx, request{Samples: n}, &got)
	return got, err
}

func (s *riverSide) stop(ctx context.Context) error {
	var errs []error
	if s.child != nil {
		errs = append(errs, s.child.Stop())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close(ctx))
	}
	return errors.Join(errs...)
}

type stampArgs struct {
	N int `json:"n"`
}

// Kind implements river.JobArgs.
func (stampArgs) Kind() string { return "stamp" }

type stampWorker struct {
	river.WorkerDefaults[stampArgs]
	started chan<- int64
}

// Work implements river.Worker.
func (w *stampWorker) Work(ctx context.Context, _ *river.Job[stampArgs]) error {
	now := stamps.Now()
	select {
	case w.started <- now:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// RiverProgram is River as a child.
func RiverProgram(ctx context.Context, config json.RawMessage, serve func(child.Answer) error) error {
	var c riverConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	clients, err := riverclient.Open(ctx, c.DSN, 10)
	if err != nil {
		return err
	}
	defer clients.Pool.Close()
	started := make(chan int64, 1)
	workers := river.NewWorkers()
	river.AddWorker(workers, &stampWorker{started: started})
	client, err := clients.New(river.Config{
		FetchCooldown: river.FetchCooldownMin, Workers: workers,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 50}},
	})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_ = client.Stop(stopping)
	}()
	return serve(func(ctx context.Context, ask json.RawMessage) (any, error) {
		var r request
		if err := json.Unmarshal(ask, &r); err != nil {
			return nil, err
		}
		return insert(ctx, client, started, r.Samples)
	})
}

func insert(ctx context.Context, client *river.Client[pgx.Tx], started <-chan int64, n int) (got latencies, err error) {
	for i := range n {
		if err := pause(ctx); err != nil {
			return got, err
		}
		sent := stamps.Now()
		if _, err := client.Insert(ctx, stampArgs{N: i}, nil); err != nil {
			return got, fmt.Errorf("insert a job: %w", err)
		}
		inserted := stamps.Now()
		select {
		case at := <-started:
			got.add(time.Duration(at-sent), time.Duration(inserted-sent))
		case <-time.After(patience):
			return got, fmt.Errorf("job %d was not picked up within %v", i, patience)
		case <-ctx.Done():
			return got, ctx.Err()
		}
	}
	return got, nil
}
