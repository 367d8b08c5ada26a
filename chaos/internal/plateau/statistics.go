package plateau

import (
	"cmp"
	"math"
	"slices"
)

// median of at least one value, which stay in their order.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// trend is the line of Theil and Sen through equidistant values: its slope from one
// to the next, and where it is half a step before the first, which is where the
// first window begins.
func trend(values []float64) (slope, base float64) {
	var slopes []float64
	for i, a := range values {
		for j := i + 1; j < len(values); j++ {
			slopes = append(slopes, (values[j]-a)/float64(j-i))
		}
	}
	slope = median(slopes)
	bases := make([]float64, len(values))
	for i, v := range values {
		bases[i] = v - slope*(float64(i)+0.5)
	}
	return slope, median(bases)
}

// chance is the probability of at least as much order upwards in values without a
// trend: the one-sided test of Mann and Kendall, with the correction for ties and
// the normal approximation, which is good from ten values on.
func chance(values []float64) float64 {
	s, ties := 0, make(map[float64]int)
	for i, a := range values {
		ties[a]++
		for _, b := range values[i+1:] {
			s += cmp.Compare(b, a)
		}
	}
	spread := func(n int) float64 { return float64(n*(n-1)*(2*n+5)) / 18 }
	variance := spread(len(values))
	for _, n := range ties {
		variance -= spread(n)
	}
	if s <= 0 || variance <= 0 {
		return 1
	}
	return math.Erfc(float64(s-1)/math.Sqrt(2*variance)) / 2
}
