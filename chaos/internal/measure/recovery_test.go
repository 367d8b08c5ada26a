package measure_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/chaos/internal/measure"
)

// at is a time of the run in tenths of seconds.
func at(tenths float64) time.Time {
	return time.Unix(1000, 0).Add(time.Duration(tenths * float64(100*time.Millisecond)))
}

// flow is ten messages per second from 0 to 20 s, each settled when delay says.
func flow(settled func(sent float64) float64) measure.Flow {
	var f measure.Flow
	for tenth := range 200 {
		f.Sent = append(f.Sent, at(float64(tenth)))
		f.Settled = append(f.Settled, at(settled(float64(tenth))))
	}
	return f
}

func recovery(f measure.Flow) (time.Duration, bool) {
	// Warm from 1 s, the fault from 4 s to 5 s, the load until 20 s.
	return measure.Recovery(f, at(10), at(40), at(50), at(200), 10)
}

func TestRecoveryOfWhatWasNeverDisturbed(t *testing.T) {
	t.Parallel()
	took, normal := recovery(flow(func(sent float64) float64 { return sent + 0.5 }))
	require.True(t, normal)
	require.Zero(t, took)
}

func TestRecoveryWaitsForTheBacklog(t *testing.T) {
	t.Parallel()
	// Nothing from 4 s on; then twice the rate from 8 s, so that 40 messages more
	// are gone at 12 s.
	took, normal := recovery(flow(func(sent float64) float64 {
		if sent < 40 {
			return sent + 0.5
		}
		return max(sent+0.5, 80+(sent-40)/2)
	}))
	require.True(t, normal)
	require.InDelta(t, 7, took.Seconds(), 0.4)
}

func TestThroughputThatIsOnlyNearlyTheLoadIsNoRecovery(t *testing.T) {
	t.Parallel()
	_, normal := recovery(flow(func(sent float64) float64 {
		if sent < 40 {
			return sent + 0.5
		}
		return 50 + (sent-40)*1.25
	}))
	require.False(t, normal)
}
