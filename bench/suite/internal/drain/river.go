package drain

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/stephost/stephost/bench/suite/internal/child"
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
	return withRiver(ctx, db, func(client *riverClients) error {
		migrator, err := rivermigrate.New(riverpgxv5.New(client.pool), nil)
		if err == nil {
			_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
		}
		if err != nil {
			return fmt.Errorf("install River's tables: %w", err)
		}
		return nil
	})
}

// fill uses River's own fastest way to insert.
func (riverJobs) fill(ctx context.Context, db *suite.Database, steps int) error {
	return withRiver(ctx, db, func(client *riverClients) error {
		producer, err := client.new(nil)
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
	})
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

// riverClients makes clients on one pool.
type riverClients struct {
	pool    *pgxpool.Pool
	setting riverSetting
}

func withRiver(ctx context.Context, db *suite.Database, use func(*riverClients) error) error {
	c, err := newRiverClients(ctx, riverSetting{DSN: db.DSN, Pool: 2})
	if err != nil {
		return err
	}
	defer c.pool.Close()
	return use(c)
}

func newRiverClients(ctx context.Context, s riverSetting) (*riverClients, error) {
	config, err := pgxpool.ParseConfig(s.DSN)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(s.Pool) //nolint:gosec // a small number
	pool, err := pgxpool.NewWithConfig(ctx, config)
	return &riverClients{pool: pool, setting: s}, err
}

func (c *riverClients) new(queues map[string]river.QueueConfig) (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &noopWorker{})
	return river.NewClient(riverpgxv5.New(c.pool), &river.Config{
		FetchCooldown:     2 * time.Millisecond,
		FetchPollInterval: 20 * time.Millisecond,
		Logger:            slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Queues:            queues,
		Workers:           workers,
	})
}

// RiverProgram is River as a child.
func RiverProgram(ctx context.Context, config json.RawMessage, serve func(child.Answer) error) error {
	var s riverSetting
	if err := json.Unmarshal(config, &s); err != nil {
		return err
	}
	clients, err := newRiverClients(ctx, s)
	if err != nil {
		return err
	}
	defer clients.pool.Close()
	stop := func() error { return nil }
	defer func() { _ = stop() }()
	return serve(func(ctx context.Context, ask json.RawMessage) (any, error) {
		var r request
		if err := json.Unmarshal(ask, &r); err != nil {
			return nil, err
		}
		var settled int
		settled, stop, err = clients.drain(ctx, r.Steps)
		if err == nil && r.Again {
			err, stop = stop(), func() error { return nil }
		}
		return done{settled}, err
	})
}

// drain starts a client, as its first claim cannot be held back in another way,
// and counts what is completed as `river bench` does: by a subscription, which tells
// of a job once its completion is in the database.
func (c *riverClients) drain(ctx context.Context, steps int) (settled int, stop func() error, err error) {
	client, err := c.new(map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: c.setting.Workers}})
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
