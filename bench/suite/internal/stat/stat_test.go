package stat

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSample(t *testing.T) {
	t.Parallel()
	s := Sample{9, 1, 3, 2, 100}
	require.InDelta(t, 3, s.Median(), 0)
	require.InDelta(t, 2, s.MAD(), 0)
	require.InDelta(t, 1, s.Min(), 0)
	require.InDelta(t, 100, s.Max(), 0)
	require.InDelta(t, 100, s.Quantile(1), 0)
	require.InDelta(t, 1.5, Sample{1, 2}.Median(), 0)
	require.Equal(t, Sample{9, 1, 3, 2, 100}, s, "the order of the rounds was lost")
	require.Equal(t, Sample{2, 0.5}, Ratios(Sample{4, 1}, Sample{2, 2}))
}
