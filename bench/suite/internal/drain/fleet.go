package drain

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// fleet is how many hosts, all alike, drain one queue.
type fleet struct {
	label string
	fewer int
	hosts int
	// config is that of each host, apart from its id and the database.
	config hostproc.Config
	// database is set for all sessions of the database, as name and value.
	database [2]string
	// shared is told what each host did, priced what it cost the server. What
	// prices is not timed: it interrupts the hosts.
	shared func(shares)
	priced func(price)
}

// shares is what several hosts made of one queue.
type shares struct {
	// Steps are those of each host.
	Steps []int
	// Redelivered are steps that were claimed more than once, Deadlocks what the
	// server counted.
	Redelivered, Deadlocks int
}

func (f fleet) contender() contender {
	return contender{
		label: f.label,
		fewer: f.fewer,
		work:  pgmqQueue{deleted: f.config.OnComplete == "delete", results: f.config.ResultQueue != ""},
		start: func(ctx context.Context, env *suite.Env, db *suite.Database) (runner, error) {
			return f.start(ctx, env, db)
		},
	}
}

func (f fleet) start(ctx context.Context, env *suite.Env, db *suite.Database) (_ runner, err error) {
	r := &fleetRunner{fleet: f, db: db}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Stop(ctx))
		}
	}()
	if f.database[0] != "" {
		if err := db.Exec(ctx, fmt.Sprintf(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET %s = %s', current_database()); END $$`, f.database[0], f.database[1])); err != nil {
			return nil, err
		}
	}
	for i := range max(1, f.hosts) {
		config := f.config
		config.ID, config.DSN = "bench-"+strconv.Itoa(i+1), db.DSN
		if config.Plugin == "" {
			config.Plugin = env.Programs.Noop
		}
		h, err := hostproc.Start(ctx, env, config.HCL())
		if err != nil {
			return nil, err
		}
		r.hosts = append(r.hosts, h)
	}
	return r, nil
}

// fleetRunner is hosts that are paused until they are to drain.
type fleetRunner struct {
	fleet fleet
	db    *suite.Database
	hosts []*hostproc.Host
	// warmed is how many steps each host has worked off before.
	warmed []int
	before price
}

func (r *fleetRunner) PIDs() []int {
	var pids []int
	for _, h := range r.hosts {
		pids = append(pids, h.PID())
	}
	return pids
}

func (r *fleetRunner) succeeded(ctx context.Context) (each []int, sum int, err error) {
	for _, h := range r.hosts {
		n, err := h.Succeeded(ctx, hostproc.Namespace)
		if err != nil {
			return nil, 0, err
		}
		each, sum = append(each, n), sum+n
	}
	return each, sum, nil
}

// wait asks every 50 ms until all hosts together have done so many steps.
func (r *fleetRunner) wait(ctx context.Context, steps int) (each []int, err error) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		each, sum, err := r.succeeded(ctx)
		if err != nil || sum >= steps {
			return each, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d steps were settled: %w", sum, steps, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

func (r *fleetRunner) pause(ctx context.Context, paused bool) error {
	for _, h := range r.hosts {
		if _, err := h.Admin.SetPaused(ctx, hostproc.Namespace, paused); err != nil {
			return err
		}
	}
	return nil
}

func (r *fleetRunner) Warm(ctx context.Context, steps int) (err error) {
	if r.warmed, err = r.wait(ctx, steps); err != nil {
		return err
	}
	return r.pause(ctx, true)
}

func (r *fleetRunner) Drain(ctx context.Context, steps int) (err error) {
	warmed := 0
	for _, n := range r.warmed {
		warmed += n
	}
	if r.fleet.priced != nil {
		if r.before, err = ask(ctx, r.db); err != nil {
			return err
		}
	}
	if err := r.pause(ctx, false); err != nil {
		return err
	}
	each, err := r.wait(ctx, warmed+steps)
	if err != nil {
		return err
	}
	if r.fleet.priced != nil {
		after, err := ask(ctx, r.db)
		if err != nil {
			return err
		}
		r.fleet.priced(after.since(r.before).per(steps))
	}
	if r.fleet.shared == nil {
		return nil
	}
	var s shares
	for i, n := range each {
		s.Steps = append(s.Steps, n-r.warmed[i])
	}
	if s.Redelivered, err = r.db.Count(ctx, `SELECT count(*) FROM `+archiveTable+` WHERE read_ct > 1`); err != nil {
		return err
	}
	if s.Deadlocks, err = r.db.Count(ctx, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`); err != nil {
		return err
	}
	r.fleet.shared(s)
	return nil
}

func (r *fleetRunner) Stop(ctx context.Context) error {
	var errs []error
	for _, h := range r.hosts {
		errs = append(errs, h.Stop(ctx))
	}
	return errors.Join(errs...)
}
