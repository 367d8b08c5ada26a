package plateau_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stephost/stephost/chaos/internal/plateau"
)

const (
	run   = time.Hour
	every = 5 * time.Second
)

// tenth is the tolerance of these tests: a tenth of the level.
var tenth = plateau.Tolerance{Relative: 0.1}

// series measures a function of the share of the run that has passed. The steps
// are uneven, so that no saw-tooth beats with them.
func series(f func(x float64) float64) []plateau.Point {
	dice := rand.New(rand.NewPCG(5, 6))
	var points []plateau.Point
	for at := time.Duration(0); at <= run; at += every/2 + time.Duration(dice.Int64N(int64(every))) {
		points = append(points, plateau.Point{At: at, Value: f(float64(at) / float64(run))})
	}
	return points
}

// tooth is a saw-tooth from 0 to 1 that falls n times in the run.
func tooth(x, n float64) float64 { return math.Mod(x*n, 1) }

func TestJudge(t *testing.T) {
	t.Parallel()
	dice := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		of   func(x float64) float64
		want plateau.Verdict
	}{
		"flat":       {func(float64) float64 { return 100 }, plateau.Flat},
		"zero":       {func(float64) float64 { return 0 }, plateau.Flat},
		"noisy":      {func(float64) float64 { return 100 + 50*dice.NormFloat64() }, plateau.Flat},
		"falls":      {func(x float64) float64 { return 100 - 50*x }, plateau.Flat},
		"collected":  {func(x float64) float64 { return 50 + 100*tooth(x, 700) }, plateau.Flat},
		"vacuumed":   {func(x float64) float64 { return 6000 * tooth(x, 61) }, plateau.Flat},
		"peaks":      {func(x float64) float64 { return 100 + 900*truth(tooth(x, 40) > 0.8) }, plateau.Flat},
		"dips":       {func(x float64) float64 { return 100 * truth(tooth(x, 40) > 0.2) }, plateau.Flat},
		"warms up":   {func(x float64) float64 { return 100 + 400*min(x/0.2, 1) }, plateau.Flat},
		"saturates":  {func(x float64) float64 { return 100 * (1 - math.Exp(-x/0.06)) }, plateau.Flat},
		"early step": {func(x float64) float64 { return 100 + 50*truth(x > 0.45) }, plateau.Flat},
		"one outage": {func(x float64) float64 { return 100 + 1000*truth(x > 0.9 && x < 0.92) }, plateau.Flat},

		"leaks 1 % a minute":       {func(x float64) float64 { return 100 * (1 + 0.6*x) }, plateau.Grows},
		"leaks below a collector":  {func(x float64) float64 { return 50 + 60*x + 100*tooth(x, 700) }, plateau.Grows},
		"leaks below autovacuum":   {func(x float64) float64 { return 6000*tooth(x, 61) + 2000*x }, plateau.Grows},
		"leaks in noise":           {func(x float64) float64 { return 100 + 40*x + 20*dice.NormFloat64() }, plateau.Grows},
		"leaks after every fault":  {func(x float64) float64 { return 100 + math.Floor(30*x) }, plateau.Grows},
		"leaks from the middle on": {func(x float64) float64 { return 100 + 100*max(x-0.5, 0) }, plateau.Grows},
		"leaks near the end":       {func(x float64) float64 { return 100 + 200*max(x-0.7, 0) }, plateau.Grows},
		"late step":                {func(x float64) float64 { return 100 + 20*truth(x > 0.73) }, plateau.RoseLate},
	} {
		t.Run(name, func(t *testing.T) {
			got := plateau.Judge(series(c.of), run, tenth)
			require.Equal(t, c.want, got.Verdict, "%+v", got)
		})
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func TestAbsoluteToleranceForgivesWhatIsSmall(t *testing.T) {
	t.Parallel()
	descriptors := series(func(x float64) float64 { return 9 + math.Floor(4*x) })
	require.Equal(t, plateau.Grows, plateau.Judge(descriptors, run, tenth).Verdict)
	require.Equal(t, plateau.Flat, plateau.Judge(descriptors, run, plateau.Tolerance{Relative: 0.1, Absolute: 5}).Verdict)
}

func TestResultTellsTheLevels(t *testing.T) {
	t.Parallel()
	got := plateau.Judge(series(func(x float64) float64 { return 100 + 100*x }), run, tenth)
	require.Equal(t, 48*time.Minute, got.Judged)
	require.InDelta(t, 123.3, got.Start, 1)
	require.InDelta(t, 160, got.Median, 1)
	require.InDelta(t, 196.7, got.End, 1)
	require.InDelta(t, 80, got.Growth, 1, "over the judged time")
	require.InDelta(t, 12, got.Allowed, 1, "a tenth of the level at its beginning")
}

func TestSeriesWithAHoleIsTooShort(t *testing.T) {
	t.Parallel()
	flat := series(func(float64) float64 { return 100 })
	hole := append(flat[:300:300], flat[450:]...)
	var sparse []plateau.Point
	for i := 0; i < len(flat); i += 80 {
		sparse = append(sparse, flat[i])
	}
	for name, points := range map[string][]plateau.Point{
		"none": nil, "few": flat[:20], "ends early": flat[:600], "a hole": hole, "less than one a window": sparse,
	} {
		require.Equal(t, plateau.TooShort, plateau.Judge(points, run, tenth).Verdict, name)
	}
	require.Equal(t, plateau.TooShort, plateau.Judge(flat, 0, tenth).Verdict)
}

// What doc.go promises, for any level, leak and noise.
func TestLeakAboveTwiceTheToleranceIsAlwaysFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		level := rapid.Float64Range(1, 1e12).Draw(t, "level")
		// Over the judged time, in shares of the level at its beginning.
		growth := rapid.Float64Range(0.21, 10).Draw(t, "growth")
		noise := rapid.SliceOfN(rapid.Float64Range(-1, 1), 50, 50).Draw(t, "noise")
		i := -1
		points := series(func(x float64) float64 {
			i++
			return level * (1 + growth*(x-0.2)/0.8 + growth/24*0.99*noise[i%len(noise)])
		})
		got := plateau.Judge(points, run, tenth)
		require.Equal(t, plateau.Grows, got.Verdict, "%+v", got)
	})
}

func TestNoiseWithinASixthOfTheToleranceIsNeverAccused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		level := rapid.Float64Range(1, 1e12).Draw(t, "level")
		// One value a window: any shape that the levels can have, trends included.
		shape := rapid.SliceOfN(rapid.Float64Range(-1, 1), 12, 12).Draw(t, "shape")
		points := series(func(x float64) float64 {
			window := min(max(int(12*(x-0.2)/0.8), 0), 11)
			return level * (1 + 0.1/6*0.95*shape[window])
		})
		got := plateau.Judge(points, run, tenth)
		require.Equal(t, plateau.Flat, got.Verdict, "%+v", got)
	})
}

func TestNoiseWithoutOrderIsRarelyAccused(t *testing.T) {
	t.Parallel()
	const tries = 2000
	dice := rand.New(rand.NewPCG(3, 4))
	accused := 0
	for range tries {
		// Far beyond the tolerance: the levels themselves are this noisy.
		shape := make([]float64, 12)
		for i := range shape {
			shape[i] = 100 + 80*dice.NormFloat64()
		}
		points := series(func(x float64) float64 { return shape[min(max(int(12*(x-0.2)/0.8), 0), 11)] })
		if !plateau.Judge(points, run, tenth).Verdict.Plateaus() {
			accused++
		}
	}
	require.LessOrEqual(t, accused, tries/60, "about one in eighty is promised")
	require.NotZero(t, accused, "this noise tests nothing")
}
