package drain

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// heats are how a sweep goes: every setting once on a small queue, then the best
// few of them on one as large as that of the rounds, each with its better try of two, so
// that neither noise nor the size of the queue chooses for a contender. Without a final
// the first heat does.
type heats struct{ steps, final int }

// finalists is how many settings a final has, and tries how often each is measured.
const (
	finalists = 3
	tries     = 2
)

type heat[S any] struct {
	setting    S
	throughput float64
}

// sweep returns the fastest setting and a table of all.
func sweep[S interface{ contender() contender }](ctx context.Context, env *suite.Env, title string, h heats, settings []S) (best S, table suite.Table, err error) {
	table = suite.Table{Title: title, Header: []string{"setting", "steps", "steps/s", "CPU µs/step"}}
	if len(settings) == 1 {
		return settings[0], table, nil
	}
	settings, err = hold(ctx, env, settings, h.steps, 1, &table)
	if err == nil && h.final > 0 {
		settings, err = hold(ctx, env, settings[:min(finalists, len(settings))], h.final, tries, &table)
	}
	if err != nil {
		return best, table, err
	}
	return settings[0], table, nil
}

// hold returns the settings in the order of the best throughput that each had.
func hold[S interface{ contender() contender }](ctx context.Context, env *suite.Env, settings []S, steps, times int, table *suite.Table) ([]S, error) {
	ran := make([]heat[S], len(settings))
	for range times {
		for i, s := range settings {
			c := s.contender()
			r, err := measure(ctx, env, c, steps)
			if err != nil {
				return nil, err
			}
			env.Log.Info("swept", "setting", c.label, "steps", steps, "steps/s", int(r.Throughput), "cpu us/step", fmt.Sprintf("%.1f", r.CPU))
			table.Rows = append(table.Rows, []string{c.label, fmt.Sprint(steps), suite.Number(r.Throughput), suite.Number(r.CPU)})
			ran[i] = heat[S]{s, max(r.Throughput, ran[i].throughput)}
		}
	}
	slices.SortStableFunc(ran, func(a, b heat[S]) int { return cmp.Compare(b.throughput, a.throughput) })
	ordered := make([]S, len(ran))
	for i, h := range ran {
		ordered[i] = h.setting
	}
	return ordered, nil
}

// candidates are the settings that a sweep tries.
type candidates struct {
	sql, loop []sqlSetting
	host      []hostSetting
	river     []riverSetting
}

func settings(f suite.Form) candidates {
	var c candidates
	for _, shape := range suite.Pick(f, []shape{alternate, pipeline}, []shape{alternate, pipeline}, []shape{alternate}) {
		for _, connections := range suite.Pick(f, []int{2, 3, 4}, []int{2}, []int{2}) {
			for _, batch := range suite.Pick(f, []int{1000, 2000}, []int{1000}, []int{100}) {
				c.sql = append(c.sql, sqlSetting{Shape: shape, Connections: connections, Batch: batch})
			}
		}
	}
	for _, connections := range suite.Pick(f, []int{1, 4, 8}, []int{4}, []int{2}) {
		c.loop = append(c.loop, sqlSetting{Shape: loop, Connections: connections, Batch: 100})
	}
	for _, slots := range suite.Pick(f, []int{1000, 2000, 5000}, []int{2000, 5000}, []int{200}) {
		for _, batch := range suite.Pick(f, []int{500, 1000}, []int{1000}, []int{100}) {
			if batch <= slots {
				c.host = append(c.host, hostSetting{slots: slots, batch: batch})
			}
		}
	}
	for _, workers := range suite.Pick(f, []int{500, 1000, 2000}, []int{2000}, []int{100}) {
		for _, pool := range suite.Pick(f, []int{4, 10}, []int{10}, []int{4}) {
			c.river = append(c.river, riverSetting{Workers: workers, Pool: pool})
		}
	}
	return c
}
