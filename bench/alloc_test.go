package bench_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/bench"
)

// What the host allocates is bounded: 3 KiB and 30 objects for a step, and a tenth
// more bytes where the race detector has pools forget. Not parallel: whatever the
// process allocates is counted.
func TestAllocationsOfAStep(t *testing.T) {
	opts := options(t)
	opts.Steps = 20_000
	report, err := bench.Run(t.Context(), opts)
	require.NoError(t, err)
	t.Logf("%.0f bytes, %.1f objects", report.Drain.AllocatedBytes, report.Drain.AllocatedObjects)
	require.Less(t, report.Drain.AllocatedBytes, 3.3*1024)
	require.Less(t, report.Drain.AllocatedObjects, 30.0)
}

// A large body is in the host twice: in the connection's buffer, as the database
// sent it, and as the step's input, which is lent to the stream. The buffer is
// bought in powers of two, so that it counts for up to two copies, and kept for the
// next body.
func TestCopiesOfALargeBody(t *testing.T) {
	opts := options(t)
	opts.Steps, opts.Slots, opts.Body = 60, 20, 1<<20
	report, err := bench.Run(t.Context(), opts)
	require.NoError(t, err)
	copies := report.Drain.AllocatedBytes / float64(opts.Body)
	t.Logf("%.2f copies", copies)
	require.LessOrEqual(t, copies, 3.0)
}
