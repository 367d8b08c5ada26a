package drain

import (
	"context"
	"fmt"

	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// runs are the runs of one contender, one for each round.
type runs []run

func (r runs) throughput() stat.Sample { return r.of(func(r run) float64 { return r.Throughput }) }

func (r runs) cpu() stat.Sample { return r.of(func(r run) float64 { return r.CPU }) }

func (r runs) of(value func(run) float64) stat.Sample {
	s := make(stat.Sample, len(r))
	for i := range r {
		s[i] = value(r[i])
	}
	return s
}

// rounds lets the contenders take turns; each round begins with another one.
func rounds(ctx context.Context, env *suite.Env, steps int, contenders []contender) ([]runs, error) {
	return turns(ctx, env, env.Rounds, steps, contenders)
}

// turns is rounds with a number of them that is not the environment's.
func turns(ctx context.Context, env *suite.Env, rounds, steps int, contenders []contender) ([]runs, error) {
	all := make([]runs, len(contenders))
	for round := range rounds {
		for i := range contenders {
			at := (i + round) % len(contenders)
			r, err := measure(ctx, env, contenders[at], steps/max(1, contenders[at].fewer))
			if err != nil {
				return nil, err
			}
			env.Log.Info("drained", "round", round+1, "contender", contenders[at].label,
				"steps/s", int(r.Throughput), "cpu us/step", fmt.Sprintf("%.1f+%.1f", r.CPUOwn, r.CPUPostgres))
			all[at] = append(all[at], r)
		}
	}
	return all, nil
}

// details is the table of all contenders of a scenario.
func details(title string, contenders []contender, all []runs) suite.Table {
	t := suite.Table{Title: title, Header: []string{
		"contender", "steps/s", "least", "most", "CPU µs/step", "of its own", "of PostgreSQL", "peak memory MB",
	}}
	for i, c := range contenders {
		s := all[i].throughput()
		t.Rows = append(t.Rows, []string{
			c.label, suite.Number(s.Median()), suite.Number(s.Min()), suite.Number(s.Max()),
			suite.Number(all[i].cpu().Median()),
			suite.Number(all[i].of(func(r run) float64 { return r.CPUOwn }).Median()),
			suite.Number(all[i].of(func(r run) float64 { return r.CPUPostgres }).Median()),
			suite.Number(all[i].of(func(r run) float64 { return megabytes(r.Peak) }).Median()),
		})
	}
	return t
}

func chart(name, title string, contenders []contender, all []runs) suite.Chart {
	c := suite.Chart{Name: name, Title: title, Unit: "steps/s"}
	for i := range contenders {
		s := all[i].throughput()
		c.Bars = append(c.Bars, suite.Bar{Label: contenders[i].label, Value: s.Median(), Low: s.Min(), High: s.Max()})
	}
	return c
}

func megabytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// steps is how many steps each contender gets in the rounds, and in a sweep.
func steps(f suite.Form) (rounds int, sweep heats) {
	rounds = suite.Pick(f, 200_000, 40_000, 400)
	return rounds, suite.Pick(f, heats{60_000, rounds}, heats{20_000, 0}, heats{200, 0})
}
