package pickup

import (
	"context"
	"fmt"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/child"
	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// Scenarios of this package.
func Scenarios() []suite.Scenario {
	return []suite.Scenario{
		{Name: "pickup", About: "latency from an autocommit send into an idle queue to the handler's start, beside River", Run: idle},
	}
}

// Programs are the children of this package.
func Programs() map[string]child.Program { return map[string]child.Program{riverChild: RiverProgram} }

// latencies are those of messages that were sent one by one: until the handler's
// start, and until the producer's send had returned, both from just before it.
type latencies struct{ Start, Send []time.Duration }

func (l *latencies) add(start, send time.Duration) {
	l.Start, l.Send = append(l.Start, start), append(l.Send, send)
}

// side is one of the two that take turns.
type side interface {
	// sample sends messages one by one.
	sample(ctx context.Context, n int) (latencies, error)
	stop(ctx context.Context) error
}

func idle(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	block := suite.Pick(env.Form, 50, 15, 5)
	blocks := suite.Pick(env.Form, 8, 3, 1)
	ours, err := startHost(ctx, env, (blocks+1)*block)
	if err != nil {
		return result, err
	}
	defer func() { err = firstError(err, ours.stop(ctx)) }()
	theirs, err := startRiver(ctx, env)
	if err != nil {
		return result, err
	}
	defer func() { err = firstError(err, theirs.stop(ctx)) }()

	var measured, sends [2]stat.Sample
	var ratios stat.Sample
	for i := range blocks + 1 {
		var medians [2]float64
		for at, s := range []side{ours, theirs} {
			got, err := s.sample(ctx, block)
			if err != nil {
				return result, err
			}
			sample := milliseconds(got.Start)
			medians[at] = sample.Median()
			if i > 0 { // the first block is warm-up
				measured[at] = append(measured[at], sample...)
				sends[at] = append(sends[at], milliseconds(got.Send)...)
			}
		}
		env.Log.Info("picked up", "block", i, "stephost p50 ms", suite.Number(medians[0]), "River p50 ms", suite.Number(medians[1]))
		if i > 0 {
			ratios = append(ratios, medians[0]/medians[1])
		}
	}
	result.Figures = append(figures(measured[0], measured[1], ratios),
		suite.Figure{Name: "pickup_send_p50", Unit: "ms", Value: sends[0].Median()})
	result.Tables = []suite.Table{table([]row{
		{"stephost", measured[0]}, {"of that, the producer's send", sends[0]},
		{"River", measured[1]}, {"of that, the producer's insert", sends[1]},
	})}
	return result, nil
}

func figures(ours, theirs, ratios stat.Sample) []suite.Figure {
	quantile := func(name string, s stat.Sample, q float64) suite.Figure {
		return suite.Figure{Name: name, Unit: "ms", Value: s.Quantile(q)}
	}
	p50 := suite.Of("pickup_p50_vs_river", "x", ratios).WithGoal(suite.AtMost(0.8))
	p50.Value = ours.Median() / theirs.Median()
	return []suite.Figure{
		quantile("pickup_p50", ours, 0.5).WithGoal(suite.AtMost(1)),
		quantile("pickup_p99", ours, 0.99).WithGoal(suite.AtMost(3)),
		quantile("pickup_river_p50", theirs, 0.5),
		quantile("pickup_river_p99", theirs, 0.99),
		p50,
		{Name: "pickup_p99_vs_river", Unit: "x", Value: ours.Quantile(0.99) / theirs.Quantile(0.99)},
	}
}

type row struct {
	name    string
	samples stat.Sample
}

func table(rows []row) suite.Table {
	t := suite.Table{
		Title:  "Pickup from an idle queue, in ms; a send waits for its commit to be on disk",
		Header: []string{"", "samples", "least", "p50", "p90", "p99", "most"},
	}
	for _, r := range rows {
		cells := []string{r.name, fmt.Sprint(len(r.samples))}
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 1} {
			cells = append(cells, suite.Number(r.samples.Quantile(q)))
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

func milliseconds(durations []time.Duration) stat.Sample {
	s := make(stat.Sample, len(durations))
	for i, d := range durations {
		s[i] = d.Seconds() * 1e3
	}
	return s
}

func firstError(err, then error) error {
	if err != nil {
		return err
	}
	return then
}
