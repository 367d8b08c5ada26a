package plateau

import (
	"slices"
	"time"
)

const (
	// warmUp is the share of the run that is not judged, as 1/warmUp.
	warmUp = 5
	// windows is how many levels are compared, and late how many of them are the
	// last third.
	windows, late = 12, 4
	// accident is the probability below which a trend is none.
	accident = 0.01
)

// Point is one measurement, At since the beginning of the run.
type Point struct {
	At    time.Duration
	Value float64
}

// Tolerance is how much a series may grow over the judged time: the larger one of
// a share of its level (0.1 is a tenth) and an absolute amount in its unit.
type Tolerance struct {
	Relative, Absolute float64
}

func (t Tolerance) of(level float64) float64 { return max(t.Relative*level, t.Absolute) }

// Verdict is what a series is found to do.
type Verdict int

// The verdicts.
const (
	// TooShort: there are not enough measurements to tell.
	TooShort Verdict = iota
	// Flat: it has a plateau.
	Flat
	// Grows: there is a trend upwards.
	Grows
	// RoseLate: it ends on a higher level that nothing says will hold.
	RoseLate
)

// String is like "rose late".
func (v Verdict) String() string {
	switch v {
	case Flat:
		return "flat"
	case Grows:
		return "GROWS"
	case RoseLate:
		return "ROSE LATE"
	default:
		return "too short"
	}
}

// Plateaus is true for a series that is known to have a plateau.
func (v Verdict) Plateaus() bool { return v == Flat }

// Result is a verdict with what it rests on.
type Result struct {
	Verdict Verdict
	// Start, Median and End are levels: of the first window of the judged time, of
	// all of them, of the last one.
	Start, Median, End float64
	// Growth is what the trend adds over the judged time, and Allowed how much it
	// may; both are in the unit of the series.
	Growth, Allowed float64
	// Judged is the time without the warm-up.
	Judged time.Duration
}

// Judge judges a series whose points are in the order of time. The run lasted from
// 0 to end; a part of it without measurements makes the series too short.
func Judge(points []Point, end time.Duration, tolerance Tolerance) Result {
	begin := end / warmUp
	levels, ok := levelsOf(points, begin, end)
	if !ok {
		return Result{Verdict: TooShort}
	}
	slope, base := trend(levels)
	r := Result{
		Start: levels[0], Median: median(levels), End: levels[len(levels)-1],
		Growth: slope * windows, Allowed: tolerance.of(base), Judged: end - begin,
	}
	switch {
	case r.Growth > r.Allowed && chance(levels) < accident:
		r.Verdict = Grows
	case roseLate(levels, r.Allowed):
		r.Verdict = RoseLate
	default:
		r.Verdict = Flat
	}
	return r
}

// levelsOf returns the median of each window, or false when one is empty.
func levelsOf(points []Point, begin, end time.Duration) ([]float64, bool) {
	if end <= begin {
		return nil, false
	}
	var members [windows][]float64
	for _, p := range points {
		if p.At < begin || p.At > end {
			continue
		}
		i := min(int(windows*(p.At-begin)/(end-begin)), windows-1)
		members[i] = append(members[i], p.Value)
	}
	levels := make([]float64, 0, windows)
	for _, m := range members {
		if len(m) == 0 {
			return nil, false
		}
		levels = append(levels, median(m))
	}
	return levels, true
}

func roseLate(levels []float64, allowed float64) bool {
	before, after := levels[:windows-late], levels[windows-late:]
	return slices.Min(after) > slices.Max(before) && median(after)-median(before) > allowed
}
