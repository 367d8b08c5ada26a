package suite

import (
	"fmt"
	"math"
	"strconv"

	"github.com/stephost/stephost/bench/suite/internal/stat"
)

// Figure is one number of the report.
type Figure struct {
	// Name is lower case with underscores and stays the same from run to run.
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Unit has no spaces: "steps/s", "ms", "us", "MB", or "x" for a ratio.
	Unit string `json:"unit"`
	// Low, High and MAD tell how the single measurements scattered around their
	// median; N is how many there were. They are absent where the value is not a
	// median.
	Low  float64 `json:"low,omitempty"`
	High float64 `json:"high,omitempty"`
	MAD  float64 `json:"mad,omitempty"`
	N    int     `json:"n,omitempty"`
	// Goal is nil where there is none.
	Goal *Goal `json:"goal,omitempty"`
	// Aside keeps it out of the table of all figures; it is among a run's last lines
	// all the same.
	Aside bool `json:"aside,omitempty"`
}

// Goal is what a figure is to reach.
type Goal struct {
	// Below means that the figure must be at most that; otherwise at least.
	Below bool    `json:"below,omitempty"`
	Bar   float64 `json:"bar"`
	// Stretch is 0 where there is none.
	Stretch float64 `json:"stretch,omitempty"`
}

// AtLeast is a goal for what should be high.
func AtLeast(bar, stretch float64) *Goal { return &Goal{Bar: bar, Stretch: stretch} }

// AtMost is a goal for what should be low.
func AtMost(bar float64) *Goal { return &Goal{Below: true, Bar: bar} }

// Of is the figure of repeated measurements: their median and spread.
func Of(name, unit string, s stat.Sample) Figure {
	return Figure{Name: name, Unit: unit, Value: s.Median(), Low: s.Min(), High: s.Max(), MAD: s.MAD(), N: len(s)}
}

// WithGoal returns the figure with a goal.
func (f Figure) WithGoal(g *Goal) Figure {
	f.Goal = g
	return f
}

// Line is the figure as the last lines of a run have it.
func (f Figure) Line() string { return fmt.Sprintf("%s %s %s", f.Name, Number(f.Value), f.Unit) }

// Verdict says whether the goal was reached.
func (f Figure) Verdict() string {
	if f.Goal == nil {
		return ""
	}
	switch {
	case f.Goal.Stretch != 0 && f.Goal.met(f.Value, f.Goal.Stretch):
		return "stretch"
	case f.Goal.met(f.Value, f.Goal.Bar):
		return "pass"
	}
	return "short"
}

func (g *Goal) met(value, limit float64) bool {
	if g.Below {
		return value <= limit
	}
	return value >= limit
}

// Number writes a value with three or four significant digits.
func Number(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case abs >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case abs >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}
