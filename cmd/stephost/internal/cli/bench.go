package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/stephost/stephost/bench"
	"github.com/stephost/stephost/internal/devpg"
)

func (a *app) benchCommand() *cobra.Command {
	var opts bench.Options
	var dsn string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine: throughput, pickup latency, memory",
		Long: `Sends no-op steps through a real plugin process and PostgreSQL. Each step is
claimed, crosses the process boundary, is settled durably and counted in the
database. Without --dsn a private PostgreSQL with default durability is started
and thrown away afterwards; in a database of yours the queues bench_queue and
bench_dead are dropped and created anew.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if min(opts.Steps, opts.Samples, opts.Starts, opts.Crossings, opts.Kills, opts.Swaps) < 0 || opts.Slots < 1 || opts.Batch < 1 {
				return usagef(cmd, "the numbers of what is measured must not be negative, --slots and --batch must be positive")
			}
			return a.bench(cmd.Context(), opts, dsn)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dsn, "dsn", "", "PostgreSQL database to measure with (default: a private one)")
	flags.StringVar(&opts.Plugin, "plugin", "", "no-op plugin (default: plugins/noop beside this program)")
	flags.IntVar(&opts.Steps, "steps", 200_000, "steps to drain; 0 skips it")
	flags.IntVar(&opts.Slots, "slots", 2000, "steps in flight at most")
	flags.IntVar(&opts.Batch, "batch", 500, "messages that one claim takes at most")
	flags.IntVar(&opts.Samples, "samples", 200, "messages that measure the pickup latency; 0 skips it")
	flags.IntVar(&opts.Starts, "starts", 20, "starts of the plugin; 0 skips it")
	flags.IntVar(&opts.Crossings, "crossings", 200_000, "steps to the plugin and back without a database; 0 skips it")
	flags.IntVar(&opts.Kills, "kills", 5, "times that the plugin is killed; 0 skips it")
	flags.IntVar(&opts.Swaps, "swaps", 10, "times that the plugin is swapped under load; 0 skips it")
	return cmd
}

func (a *app) bench(ctx context.Context, opts bench.Options, dsn string) (err error) {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	opts.Shim = []string{self, ShimCommand}
	if opts.Plugin == "" {
		opts.Plugin = filepath.Join(filepath.Dir(self), "plugins", "noop")
	}
	if opts.Plugin, err = filepath.Abs(opts.Plugin); err != nil {
		return err
	}
	if _, err := os.Stat(opts.Plugin); err != nil {
		return fmt.Errorf("the no-op plugin is missing: %w: build it with `make build`, or name it with --plugin", err)
	}
	opts.Logger = hclog.New(&hclog.LoggerOptions{Output: a.stderr, Level: hclog.Warn})

	opts.DSN = dsn
	if dsn == "" {
		stop, err := startBenchDatabase(ctx, &opts)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	if _, err := installSchema(ctx, opts.DSN); err != nil && dsn == "" {
		return err
	}
	report, err := bench.Run(ctx, opts)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(report)
	}
	return a.printReport(report)
}

// startBenchDatabase starts a cluster that is thrown away, with PostgreSQL's
// own durability.
func startBenchDatabase(ctx context.Context, opts *bench.Options) (stop func() error, err error) {
	dir, err := os.MkdirTemp("", "stephost-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the database: %w", err)
	}
	cluster, err := devpg.Start(ctx, devpg.Options{Dir: filepath.Join(dir, "postgres"), Logger: opts.Logger})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a private PostgreSQL: %w", err), os.RemoveAll(dir))
	}
	opts.DSN = cluster.DSN(devDatabase)
	return func() error {
		return errors.Join(stopCluster(cluster), os.RemoveAll(cluster.Dir()), os.RemoveAll(dir))
	}, nil
}

func (a *app) printReport(r bench.Report) error {
	t := newTable(a.stdout, "figure", "value", "unit")
	if d := r.Drain; d != nil {
		t.row("steps", humanize.Comma(int64(d.Steps)), "settled and counted in the database")
		t.row("slots", d.Slots, "in flight at most")
		t.row("throughput", humanize.Comma(int64(d.Throughput)), "steps/s")
	}
	if p := r.Pickup; p != nil {
		for _, q := range []struct {
			name         string
			commit, send time.Duration
		}{
			{"p50", p.FromCommit.P50, p.FromSend.P50},
			{"p95", p.FromCommit.P95, p.FromSend.P95},
			{"p99", p.FromCommit.P99, p.FromSend.P99},
		} {
			t.row("pickup "+q.name, milliseconds(q.commit), "ms, from the commit to the handler's start")
			t.row("pickup "+q.name+" from send", milliseconds(q.send), "ms, the producer's send and commit included")
		}
	}
	if r.Memory.Queued > 0 {
		t.row("memory queued", humanize.IBytes(uint64(r.Memory.Queued)), "resident, with all steps queued")   //nolint:gosec // positive
		t.row("memory peak", humanize.IBytes(uint64(r.Memory.Peak)), "resident, host and measuring together") //nolint:gosec // positive
	}
	if s := r.Start; s != nil {
		t.row("plugin start p50", milliseconds(s.ToReady.P50), "ms, to being ready for steps")
		t.row("plugin start max", milliseconds(s.ToReady.Max), "ms")
		t.row("plugin memory", humanize.IBytes(uint64(s.Resident)), "resident, the no-op plugin after its start") //nolint:gosec // positive
	}
	if b := r.Boundary; b != nil {
		t.row("boundary alone p50", microseconds(b.Alone.P50), "µs, a step to the plugin and back")
		t.row("boundary alone p99", microseconds(b.Alone.P99), "µs")
		t.row("boundary loaded", microseconds(b.Loaded), fmt.Sprintf("µs a step with %d in flight", b.Slots))
	}
	if k := r.Recovery; k != nil {
		t.row("recovery p50", milliseconds(k.NextStep.P50), "ms, from SIGKILL to the next step's start")
		t.row("recovery max", milliseconds(k.NextStep.Max), "ms")
	}
	if s := r.Swap; s != nil {
		t.row("swap quiet max", milliseconds(s.Quiet.Max), "ms, from a message's commit to its settlement, without swaps")
		t.row("swap max", milliseconds(s.Swapping.Max), fmt.Sprintf("ms, the same with %d swaps", s.Swaps))
		t.row("swap p99", milliseconds(s.Swapping.P99), "ms")
		t.row("swap failed", s.Failed, fmt.Sprintf("of %d steps", s.Steps))
		t.row("swap again", s.Again, "deliveries given back unfinished")
	}
	return t.flush()
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond))
}

func microseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f", float64(d)/float64(time.Microsecond))
}
