// Package stat summarises repeated measurements.
package stat

import (
	"math"
	"slices"
)

// Sample is a series of measurements. Its methods are for one that is not empty.
type Sample []float64

// Quantile returns the value that the share q of the sample does not exceed,
// interpolated between its neighbours.
func (s Sample) Quantile(q float64) float64 {
	sorted := slices.Sorted(slices.Values(s))
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}

// Median is the middle.
func (s Sample) Median() float64 { return s.Quantile(0.5) }

// Min is the least.
func (s Sample) Min() float64 { return slices.Min(s) }

// Max is the greatest.
func (s Sample) Max() float64 { return slices.Max(s) }

// MAD is the median of the absolute deviations from the median.
func (s Sample) MAD() float64 {
	median := s.Median()
	deviations := make(Sample, len(s))
	for i, v := range s {
		deviations[i] = math.Abs(v - median)
	}
	return deviations.Median()
}

// Ratios divides measurements of two contenders that were taken in the same
// rounds, pairwise.
func Ratios(a, b Sample) Sample {
	ratios := make(Sample, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return ratios
}
