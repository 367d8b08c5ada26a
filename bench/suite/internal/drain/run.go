package drain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/proc"
	"github.com/stephost/stephost/bench/suite/internal/suite"
	"github.com/stephost/stephost/internal/procmem"
)

// contender empties a queue in one way, with one setting.
type contender struct {
	// label tells it from others in a table.
	label string
	work  workload
	// fewer divides the steps of a contender that is slow; 0 is 1.
	fewer int
	start func(ctx context.Context, env *suite.Env, db *suite.Database) (runner, error)
}

// runner is a contender that has started and waits.
type runner interface {
	// PIDs are its processes; what is below them counts as well.
	PIDs() []int
	// Warm works off what is in the queue, steps of them, and waits again. It is
	// called once, before the steps that count are there.
	Warm(ctx context.Context, steps int) error
	// Drain begins to claim and returns soon after the last step was settled.
	Drain(ctx context.Context, steps int) error
	Stop(ctx context.Context) error
}

// run is one run of a contender.
type run struct {
	// Throughput is in steps per second.
	Throughput float64
	// CPU is processor time per step in microseconds: of the contender's
	// processes, of PostgreSQL's, and of both.
	CPUOwn, CPUPostgres, CPU float64
	// Peak is the resident memory of the contender's first process at its
	// highest, in bytes.
	Peak int64
}

// patience bounds one drain.
const patience = 5 * time.Minute

// warmUp is how many steps a contender works off before the clock starts.
func warmUp(steps int) int { return min(2000, steps/10) }

// measure runs a contender once on a queue of so many steps.
func measure(ctx context.Context, env *suite.Env, c contender, steps int) (_ run, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", c.label, err)
		}
	}()
	db, err := env.Database(ctx)
	if err != nil {
		return run{}, err
	}
	defer func() { err = errors.Join(err, db.Close(ctx)) }()
	if err := c.work.create(ctx, db); err != nil {
		return run{}, err
	}
	r, err := c.start(ctx, env, db)
	if err != nil {
		return run{}, err
	}
	defer func() { err = errors.Join(err, r.Stop(ctx)) }()

	warm := warmUp(steps)
	if err := c.work.fill(ctx, db, warm); err != nil {
		return run{}, err
	}
	if err := r.Warm(ctx, warm); err != nil {
		return run{}, fmt.Errorf("warm up: %w", err)
	}
	if err := c.work.fill(ctx, db, steps); err != nil {
		return run{}, err
	}
	if err := db.Settle(ctx); err != nil {
		return run{}, err
	}
	got, err := timed(ctx, env, c, r, db, steps)
	if err != nil {
		return run{}, err
	}
	return got, c.work.verify(ctx, db, warm+steps)
}

func timed(ctx context.Context, env *suite.Env, c contender, r runner, db *suite.Database, steps int) (got run, err error) {
	own, postgres, err := usage(env, r)
	if err != nil {
		return got, err
	}
	began := time.Now()
	if err := r.Drain(ctx, steps); err != nil {
		return got, err
	}
	ended := time.Now()
	ownAfter, postgresAfter, err := usage(env, r)
	if err != nil {
		return got, err
	}
	last, err := c.work.lastCommit(ctx, db)
	if err != nil {
		return got, err
	}
	if last.Before(began) || last.After(ended) {
		return got, fmt.Errorf("the last settlement was committed %v after the drain began, which ended after %v", last.Sub(began), ended.Sub(began))
	}
	n := float64(steps)
	got.Throughput = n / last.Sub(began).Seconds()
	got.CPUOwn = (ownAfter - own).Seconds() * 1e6 / n
	got.CPUPostgres = (postgresAfter - postgres).Seconds() * 1e6 / n
	got.CPU = got.CPUOwn + got.CPUPostgres
	memory, err := procmem.Of(r.PIDs()[0])
	got.Peak = memory.Peak
	return got, err
}

func usage(env *suite.Env, r runner) (own, postgres time.Duration, err error) {
	if own, err = proc.CPU(r.PIDs()...); err == nil {
		postgres, err = proc.CPU(env.Postgres.Pid())
	}
	return own, postgres, err
}
