package soak

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/chaos/internal/plateau"
)

func TestSparkline(t *testing.T) {
	t.Parallel()
	draw := func(f func(i int) (float64, bool)) string {
		var points []plateau.Point
		for i := range 80 {
			if v, ok := f(i); ok {
				points = append(points, plateau.Point{At: time.Duration(i) * time.Second, Value: v})
			}
		}
		return sparkline(points)
	}
	require.Empty(t, draw(func(int) (float64, bool) { return 0, false }))
	require.Equal(t, "▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁", draw(func(int) (float64, bool) { return 0, true }))
	require.Equal(t, "████████████████████████████████████████", draw(func(int) (float64, bool) { return 9, true }))
	require.Equal(t, "▁▁▁▁▁▂▂▂▂▂▃▃▃▃▃▄▄▄▄▄▅▅▅▅▅▆▆▆▆▆▇▇▇▇▇█████", draw(func(i int) (float64, bool) { return float64(i + 1), true }), "from zero")
	require.Equal(t, "██████████                    ██████████", draw(func(i int) (float64, bool) { return 9, i < 20 || i >= 60 }), "a gap")
}
