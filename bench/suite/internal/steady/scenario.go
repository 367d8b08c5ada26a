package steady

import (
	"context"
	"fmt"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// Scenarios of this package.
func Scenarios() []suite.Scenario {
	return []suite.Scenario{
		{Name: "pickup-load", About: "pickup latency at 1,000 steps/s and at 70 % of what the host drains", Run: underLoad},
		{Name: "polling", About: "pickup latency with polling alone, beside the interval", FullOnly: true, Run: polling},
	}
}

// slots and batch are the host's setting under load.
const slots, batch = 1000, 500

func underLoad(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	most := suite.Pick(env.Form, 100_000, 40_000, 500)
	seconds := suite.Pick(env.Form, 10.0, 4, 0.3)
	thousand := timetable{producers: 4, perSecond: suite.Pick(env.Form, 1000, 1000, 200), seconds: seconds}
	busy := timetable{producers: 4, batch: suite.Pick(env.Form, 100, 100, 10), seconds: seconds / 2}

	table := suite.Table{Title: "Pickup under load, in ms", Header: []string{"load", "steps", "p50", "p90", "p99", "p99.9", "most"}}
	var p50, p99, busyP50, busyP99, rates stat.Sample
	for range env.Rounds {
		drained, err := drain(ctx, env, most)
		if err != nil {
			return result, err
		}
		light, err := measure(ctx, env, thousand)
		if err != nil {
			return result, err
		}
		busy.perSecond = max(int(0.7*drained), busy.batch*busy.producers)
		heavy, err := measure(ctx, env, busy)
		if err != nil {
			return result, err
		}
		p50, p99 = append(p50, light.Median()), append(p99, light.Quantile(0.99))
		busyP50, busyP99 = append(busyP50, heavy.Median()), append(busyP99, heavy.Quantile(0.99))
		rates = append(rates, float64(busy.perSecond))
		for _, load := range []struct {
			rate int
			s    stat.Sample
		}{{thousand.perSecond, light}, {busy.perSecond, heavy}} {
			table.Rows = append(table.Rows, row(fmt.Sprintf("%d steps/s", load.rate), load.s, 0.5, 0.9, 0.99, 0.999, 1))
		}
		env.Log.Info("picked up under load", "1,000/s p99 ms", suite.Number(light.Quantile(0.99)), "steps/s", busy.perSecond, "p99 ms", suite.Number(heavy.Quantile(0.99)))
	}
	result.Figures = []suite.Figure{
		suite.Of("pickup_1000_p50", "ms", p50),
		suite.Of("pickup_1000_p99", "ms", p99).WithGoal(suite.AtMost(5)),
		suite.Of("pickup_70_rate", "steps/s", rates),
		suite.Of("pickup_70_p50", "ms", busyP50),
		suite.Of("pickup_70_p99", "ms", busyP99).WithGoal(suite.AtMost(50)),
	}
	result.Tables = []suite.Table{table}
	result.Notes = []string{fmt.Sprintf("At 1,000 steps/s each of %d producers sends one message in a statement, at 70 %% batches of %d. The most is what the same host drains from a full queue, with no producer beside it.", thousand.producers, busy.batch)}
	return result, nil
}

// measure is the latency of one run.
func measure(ctx context.Context, env *suite.Env, t timetable) (s stat.Sample, err error) {
	b, err := open(ctx, env, hostproc.Config{Slots: slots, Batch: batch}, t.messages())
	if err != nil {
		return nil, err
	}
	defer func() { err = firstError(err, b.close(ctx)) }()
	sent, err := b.send(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := b.settled(ctx, t.messages()); err != nil {
		return nil, err
	}
	s = make(stat.Sample, len(sent))
	for i, at := range sent {
		s[i] = float64(b.stamps.At(i)-at) / 1e6
	}
	// The first tenth is warm-up.
	return s[len(s)/10:], nil
}

// drain is how many steps a second the host picks up from a full queue.
func drain(ctx context.Context, env *suite.Env, messages int) (rate float64, err error) {
	b, err := open(ctx, env, hostproc.Config{Slots: slots, Batch: batch}, messages)
	if err != nil {
		return 0, err
	}
	defer func() { err = firstError(err, b.close(ctx)) }()
	if _, err := b.host.Admin.SetPaused(ctx, hostproc.Namespace, true); err != nil {
		return 0, err
	}
	if err := sendBatch(ctx, b.db.Conn, 0, messages); err != nil {
		return 0, err
	}
	if _, err := b.host.Admin.SetPaused(ctx, hostproc.Namespace, false); err != nil {
		return 0, err
	}
	if err := b.settled(ctx, messages); err != nil {
		return 0, err
	}
	var at stat.Sample
	for i := range messages {
		at = append(at, float64(b.stamps.At(i)))
	}
	// Between the first tenth and the last one it has reached its pace.
	return 0.8 * float64(messages) / (at.Quantile(0.9) - at.Quantile(0.1)) * float64(time.Second), nil
}

func polling(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	interval := suite.Pick(env.Form, 200, 200, 50)
	samples := suite.Pick(env.Form, 200, 50, 3)
	config := hostproc.Config{Mode: "PollingOnly", PollingInterval: fmt.Sprintf("%dms", interval)}
	b, err := open(ctx, env, config, samples)
	if err != nil {
		return result, err
	}
	defer func() { err = firstError(err, b.close(ctx)) }()
	s := make(stat.Sample, samples)
	for i := range s {
		if s[i], err = b.lone(ctx, i, time.Duration(interval)*time.Millisecond); err != nil {
			return result, err
		}
	}
	if err := b.settled(ctx, samples); err != nil {
		return result, err
	}
	result.Figures = []suite.Figure{
		{Name: "polling_p50_vs_interval", Unit: "x", Value: s.Median() / float64(interval), N: len(s), Goal: suite.AtMost(0.55)},
		{Name: "polling_p99_vs_interval", Unit: "x", Value: s.Quantile(0.99) / float64(interval), N: len(s)},
	}
	result.Tables = []suite.Table{{
		Title: fmt.Sprintf("Pickup with polling every %d ms alone, in ms", interval), Header: []string{"", "samples", "least", "p50", "p99", "most"},
		Rows: [][]string{row("PollingOnly", s, 0, 0.5, 0.99, 1)},
	}}
	return result, nil
}

func row(label string, s stat.Sample, quantiles ...float64) []string {
	cells := []string{label, fmt.Sprint(len(s))}
	for _, q := range quantiles {
		cells = append(cells, suite.Number(s.Quantile(q)))
	}
	return cells
}

func firstError(err, then error) error {
	if err != nil {
		return err
	}
	return then
}
