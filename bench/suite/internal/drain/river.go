package drain

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/stephost/stephost/bench/suite/internal/child"
	"github.com/stephost/stephost/bench/suite/internal/riverclient"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// riverSetting is what River is started with. What is not here is as `river
// bench` has it: 2 ms of fetch cooldown, 20 ms between polls.
type riverSetting struct {
	Workers int
	// Pool is the size of pgx's pool. `river bench` has four, pgx's default on
	// a small machine.
	Pool int
	DSN  string
}

const riverChild = "river-drain"

func (s riverSetting) contender() contender {
	return contender{
		label: fmt.Sprintf("River, %d workers, pool of %d", s.Workers, s.Pool),
		work:  riverJobs{},
		start: func(ctx context.Context, env *suite.Env, db *suite.Database) (runner, error) {
			s.DSN = db.DSN
			return startChild(ctx, env, riverChild, s)
		},
	}
}

// riverJobs is River's table.
type riverJobs struct{}

func (riverJobs) create(ctx context.Context, db *suite.Database) error {
	return riverclient.Install(ctx, db.DSN)
}

// fill uses River's own fastest way to insert.
func (riverJobs) fill(ctx context.Context, db *suite.Database, steps int) error {
	clients, err := riverclient.Open(ctx, db.DSN, 2)
	if err != nil {
		return err
	}
	defer clients.Pool.Close()
	producer, err := clients.New(riverConfig(nil))
	if err != nil {
		return err
	}
	const chunk = 5000
	pad := strings.Repeat("x", bodySize-20)
	for n := 0; n < steps; n += chunk {
		params := make([]river.InsertManyParams, min(chunk, steps-n))
		for i := range params {
			params[i].Args = noopArgs{N: n + i, Pad: pad}
		}
		if _, err := producer.InsertManyFast(ctx, params); err != nil {
			return fmt.Errorf("insert jobs into River: %w", err)
		}
	}
	return nil
}

func (riverJobs) verify(ctx context.Context, db *suite.Database, steps int) error {
	var all, completed int
	err := db.Conn.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE state = 'completed') FROM river_job`).Scan(&all, &completed)
	if err == nil && (all != steps || completed != steps) {
		err = fmt.Errorf("the database counts %d completed jobs of %d, expected %d", completed, all, steps)
	}
	return err
}

func (riverJobs) lastCommit(ctx context.Context, db *suite.Database) (time.Time, error) {
	return commitTime(ctx, db, `SELECT max(pg_xact_commit_timestamp(xmin)) FROM river_job`)
}

// noopArgs are a job's arguments.
type noopArgs struct {
	N   int    `json:"n"`
	Pad string `json:"pad"`
}

// Kind implements river.JobArgs.
func (noopArgs) Kind() string { return "noop" }

type noopWorker struct{ river.WorkerDefaults[noopArgs] }

// Work implements river.Worker.
func (noopWorker) Work(context.Context, *river.Job[noopArgs]) error { return nil }

// riverConfig is that of `river bench`.
func riverConfig(queues map[string]river.QueueConfig) river.Config {
	workers := river.NewWorkers()
	river.AddWorker(workers, &noopWorker{})
	return river.Config{
		FetchCooldown: 2 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond,
		Queues: queues, Workers: workers,
	}
}

// RiverProgram is River as a child.
func RiverProgram(ctx context.Context, config json.RawMessage, serve func(child.Answer) error) error {
	var s riverSetting
	if err := json.Unmarshal(config, &s); err != nil {
		return err
	}
	clients, err := riverclient.Open(ctx, s.DSN, s.Pool)
	if err != nil {
		return err
	}
	defer clients.Pool.Close()
	stop := func() error { return nil }
	defer func() { _ = stop() }()
	return serve(func(ctx context.Context, ask json.RawMessage) (any, error) {
		var r request
		if err := json.Unmarshal(ask, &r); err != nil {
			return nil, err
		}
		var settled int
		settled, stop, err = drainRiver(ctx, clients, s.Workers, r.Steps)
		if err == nil && r.Again {
			err, stop = stop(), func() error { return nil }
		}
		return done{settled}, err
	})
}

// drainRiver starts a client, as its first claim cannot be held back in another way,
// and counts what is completed as `river bench` does: by a subscription, which tells
// of a job once its completion is in the database.
func drainRiver(ctx context.Context, clients *riverclient.Clients, workers, steps int) (settled int, stop func() error, err error) {
	client, err := clients.New(riverConfig(map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}}))
	if err != nil {
		return 0, func() error { return nil }, err
	}
	events, cancel := client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: 75_000, Kinds: []river.EventKind{river.EventKindJobCancelled, river.EventKindJobCompleted, river.EventKindJobFailed},
	})
	if err := client.Start(ctx); err != nil {
		return 0, func() error { return nil }, fmt.Errorf("start River: %w", err)
	}
	stop = func() error {
		stopping, done := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer done()
		defer cancel()
		return client.Stop(stopping)
	}
	for settled < steps {
		select {
		case event := <-events:
			if event == nil || event.Kind != river.EventKindJobCompleted {
				return settled, stop, fmt.Errorf("after %d jobs River says %+v", settled, event)
			}
			settled++
		case <-ctx.Done():
			return settled, stop, ctx.Err()
		}
	}
	return settled, stop, nil
}
