package bench_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/bench"
	"github.com/stephost/stephost/host/supervisor/shim"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Command {
		os.Exit(shim.Main(os.Args[2:]))
	}
	devpgtest.Main(m)
}

func options(t testing.TB) bench.Options {
	t.Helper()
	plugin := filepath.Join(t.TempDir(), "noop")
	out, err := exec.Command("go", "build", "-o", plugin, "../plugins/examples/noop").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return bench.Options{
		DSN: devpgtest.New(t, devpgtest.Template("bench", func(ctx context.Context, conn *pgx.Conn) error {
			_, err := schema.Install(ctx, conn)
			return err
		})),
		Plugin: plugin, Shim: []string{os.Args[0], shim.Command},
		Slots: 2000, Batch: 500, Logger: hclog.NewNullLogger(),
	}
}

func TestEveryStepIsCounted(t *testing.T) {
	t.Parallel()
	opts := options(t)
	opts.Steps, opts.Samples = 3000, 5
	report, err := bench.Run(t.Context(), opts)
	require.NoError(t, err)
	require.Equal(t, 3000, report.Drain.Archived)
	require.Positive(t, report.Drain.Throughput)
	require.Equal(t, 5, report.Pickup.Samples)
	require.LessOrEqual(t, report.Pickup.FromSend.P50, report.Pickup.FromSend.Max)
}

func TestPluginLifeIsMeasured(t *testing.T) {
	t.Parallel()
	opts := options(t)
	opts.Starts, opts.Crossings, opts.Kills, opts.Swaps = 2, 3000, 1, 2
	report, err := bench.Run(t.Context(), opts)
	require.NoError(t, err)
	require.Positive(t, report.Start.ToReady.P50)
	require.Positive(t, report.Start.Resident)
	require.Positive(t, report.Boundary.Loaded)
	require.GreaterOrEqual(t, report.Boundary.Alone.Max, report.Boundary.Alone.P50)
	require.Positive(t, report.Recovery.NextStep.P50)
	require.Positive(t, report.Swap.Steps)
	require.Zero(t, report.Swap.Failed)
	require.Positive(t, report.Swap.Swapping.P50)
}

func TestMissingSchemaIsSaid(t *testing.T) {
	t.Parallel()
	opts := options(t)
	opts.Steps, opts.DSN = 1, devpgtest.New(t)
	_, err := bench.Run(t.Context(), opts)
	require.ErrorContains(t, err, "bench_queue")
}

// BenchmarkDrain is the drain alone, for profiles. Its database does not flush
// to disk; `stephost bench` measures with one that does.
func BenchmarkDrain(b *testing.B) {
	opts := options(b)
	opts.Steps = max(b.N, 1000)
	report, err := bench.Run(b.Context(), opts)
	require.NoError(b, err)
	b.ReportMetric(report.Drain.Throughput, "steps/s")
}
