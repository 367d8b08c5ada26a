package vitals_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/chaos/internal/plateau"
	"github.com/stephost/stephost/chaos/internal/vitals"
)

// The levels are those of a host in a soak.
func TestALeakWithEachOfTenFaultsIsFound(t *testing.T) {
	t.Parallel()
	for measure, level := range map[vitals.Measure]float64{
		vitals.Goroutines: 90, vitals.Descriptors: 30, vitals.Threads: 9, vitals.Processes: 15, vitals.Entries: 12, vitals.Backends: 20,
	} {
		series := vitals.Series{Measure: measure}
		for at := time.Duration(0); at < time.Hour; at += 5 * time.Second {
			fault := float64(at / (6 * time.Minute))
			series.Points = append(series.Points, plateau.Point{At: at, Value: level + fault})
		}
		got, judged := series.Judge(time.Hour)
		require.True(t, judged)
		require.Equal(t, plateau.Grows, got.Verdict, "%s %+v", measure, got)
	}
}
