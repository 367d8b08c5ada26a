package soak

import (
	"strings"

	"github.com/stephost/stephost/chaos/internal/plateau"
)

// sparkWidth is how many characters a series is drawn with.
const sparkWidth = 40

// sparkline draws a series from zero to its highest point. Each character is the
// mean of its share of the points.
func sparkline(points []plateau.Point) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	if len(points) == 0 {
		return ""
	}
	end := points[len(points)-1].At + 1
	var sums, counts [sparkWidth]float64
	for _, p := range points {
		i := int(sparkWidth * p.At / end)
		sums[i] += p.Value
		counts[i]++
	}
	highest := 0.0
	for i := range sums {
		if counts[i] > 0 {
			sums[i] /= counts[i]
			highest = max(highest, sums[i])
		}
	}
	var text strings.Builder
	for i, mean := range sums {
		switch {
		case counts[i] == 0:
			text.WriteRune(' ')
		case highest == 0:
			text.WriteRune(bars[0])
		default:
			text.WriteRune(bars[min(int(mean/highest*float64(len(bars))), len(bars)-1)])
		}
	}
	return text.String()
}
