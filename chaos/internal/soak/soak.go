package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/stephost/stephost/chaos/internal/audit"
	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/chaos/internal/netfault"
	"github.com/stephost/stephost/chaos/internal/vitals"
	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/internal/wait"
)

// Options say how a soak is run.
type Options struct {
	// World is its world; Shape has made it one for a soak.
	World world.Options
	// Duration is how long the load runs.
	Duration time.Duration
	// Seed decides which faults happen, in which order, and the time between them.
	Seed uint64
	// Only are the names of the faults to choose from; none: all.
	Only []string
	// Log gets a line for each fault; nil: nobody.
	Log io.Writer
}

// Form is that of a soak: a load that leaves room on the machine for others, and
// leases that a fault can outlast while somebody waits.
func Form() world.Form {
	return world.Form{Name: "soak", Lease: 10 * time.Second, Hold: 10 * time.Second, Patience: 2 * time.Minute, Rate: 40}
}

// Shape makes a world one for a soak: three hosts, short archives, a temporary
// directory of its own below Dir, and a mix with failures.
func Shape(opts *world.Options) {
	opts.Hosts = int(hosts)
	opts.Mix = mix
	opts.TempDir = filepath.Join(opts.Dir, "tmp")
	opts.QueueExtra = `archive { retain = "30s" }`
	// A minute between two rounds of autovacuum would be a large part of a short
	// soak.
	opts.Server = map[string]string{"autovacuum_naptime": "10s"}
}

// Run runs a soak. When ctx ends, it ends early, with a report on what there was so
// far. The error says that there could be no soak; what the soak has found is in
// the report.
func Run(ctx context.Context, opts Options) (*Report, error) {
	deck, err := named(opts.Only)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(opts.World.TempDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the temporary directory: %w", err)
	}
	r := &run{
		log: opts.Log, all: deck, dice: rand.New(rand.NewPCG(opts.Seed, 0)),
		report: &Report{Seed: opts.Seed, Faults: map[string]int{}},
	}
	if r.log == nil {
		r.log = io.Discard
	}
	opts.World.Via = r.via
	if r.World, err = world.New(ctx, opts.World); err != nil {
		return nil, err
	}
	defer r.Stop()
	if err := ledger.KeepRemoved(ctx, r.DB); err != nil {
		return nil, err
	}
	r.soak(ctx, opts.Duration)
	// What follows is the report also of a soak that was ended early.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*r.Patience)
	defer cancel()
	r.settle(ctx)
	if err := r.audit(ctx); err != nil {
		return nil, err
	}
	return r.report, nil
}

// run is a soak that is under way.
type run struct {
	*world.World
	network *netfault.Proxy // of the battered host
	log     io.Writer
	all     []episode // to choose from
	dice    *rand.Rand
	report  *Report
}

// soak is the part under load.
func (r *run) soak(ctx context.Context, duration time.Duration) {
	recorder := vitals.NewRecorder(
		vitals.Hosts{List: r.hosts, TempDir: r.TempDir},
		vitals.Directory{Path: r.TempDir},
		vitals.Database{DSN: r.Postgres.DSN("postgres")},
	)
	r.report.recorder = recorder
	loaded, stop := context.WithTimeout(ctx, duration)
	defer stop()
	r.StartLoad()
	// The recorder goes on while the last fault is mended, which ctx does not cut
	// off: a host that is down has to come up again.
	recording, stopRecording := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	all.Go(func() { recorder.Run(recording, min(max(duration/720, 100*time.Millisecond), 5*time.Second)) })
	all.Go(func() { r.consume(recording) })
	r.faults(loaded, min(max(duration/180, time.Second), 20*time.Second))
	r.Load.Stop()
	r.report.Length = recorder.Elapsed()
	stopRecording()
	all.Wait()
}

// faults deals faults until ctx ends.
func (r *run) faults(ctx context.Context, quiet time.Duration) {
	begun := time.Now()
	var deck []episode
	for {
		rest := quiet/2 + time.Duration(r.dice.Int64N(int64(quiet)))
		if wait.For(ctx, rest) != nil {
			return
		}
		if len(deck) == 0 {
			deck = slices.Clone(r.all)
			r.dice.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		next := deck[0]
		deck = deck[1:]
		at := time.Since(begun)
		// It is not cut off: every fault is mended, also the last one.
		err := r.episode(context.WithoutCancel(ctx), next)
		r.report.Faults[next.name]++
		if err != nil {
			r.problem(fmt.Errorf("%s at %v: %w", next.name, at.Round(time.Second), err))
		}
		fmt.Fprintf(r.log, "%8v  %-18s %s\n", at.Round(time.Second), next.name, outcome(err, time.Since(begun)-at))
	}
}

func outcome(err error, took time.Duration) string {
	if err != nil {
		return "FAILED: " + err.Error()
	}
	return "mended after " + took.Round(100*time.Millisecond).String()
}

// episode makes one fault happen and waits until the load is worked again.
func (r *run) episode(ctx context.Context, e episode) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*r.Patience, errors.New("it took too long"))
	defer cancel()
	if err := e.happen(ctx, r); err != nil {
		return err
	}
	return r.Until(ctx, "the backlog is worked off", func() (bool, error) {
		backlog, err := r.Backlog(ctx)
		return err == nil && backlog <= r.Rate, nil
	})
}

// settle waits for the end of all messages and of all hosts, and looks what is left
// of them.
func (r *run) settle(ctx context.Context) {
	r.problem(r.Until(ctx, "the queue is empty", func() (bool, error) {
		backlog, err := r.Backlog(ctx)
		return err == nil && backlog == 0, nil
	}))
	r.problem(r.StopHosts(ctx))
	left, err := vitals.LeftBehind(r.TempDir)
	r.problem(err)
	for _, what := range left {
		r.problem(fmt.Errorf("left behind by hosts that have stopped: %s", what))
	}
}

func (r *run) problem(err error) {
	if err != nil {
		r.report.Problems = append(r.report.Problems, err.Error())
	}
}

func (r *run) audit(ctx context.Context) error {
	pooled, err := r.DB.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect for the audit: %w", err)
	}
	defer pooled.Release()
	if err := ledger.Acknowledge(ctx, pooled.Conn(), r.Load.Acked()); err != nil {
		return err
	}
	if err := ledger.Import(ctx, pooled.Conn(), r.Journal); err != nil {
		return err
	}
	r.report.Audit, err = audit.Run(ctx, pooled.Conn())
	return err
}
