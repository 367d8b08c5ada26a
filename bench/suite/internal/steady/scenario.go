package steady

import (
	"context"
	"fmt"
	"math/rand/v2"
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
	seconds := suite.Pick(env.Form, 10.0, 2, 0.3)
	thousand := timetable{producers: 4, perSecond: suite.Pick(env.Form, 1000, 1000, 200), seconds: seconds}
	batches := timetable{producers: 4, batch: suite.Pick(env.Form, 100, 100, 10), seconds: seconds / 2}
	loads := []*load{
		{name: "1000", rate: func() (int, error) { return thousand.perSecond, nil }, times: thousand, bar: 5},
		{name: "70", rate: func() (int, error) { return seventyPercent(drain(ctx, env, most)) }, times: batches, bar: 50},
		{name: "70_sustained", rate: func() (int, error) { return seventyPercent(sustain(ctx, env, most)) }, times: batches, bar: 50},
	}
	table := suite.Table{Title: "Pickup under load, in ms", Header: []string{"load", "steps", "p50", "p90", "p99", "p99.9", "most"}}
	for range env.Rounds {
		for _, l := range loads {
			rate, err := l.rate()
			if err != nil {
				return result, err
			}
			l.times.perSecond = max(rate, l.times.batch*l.times.producers)
			s, err := measure(ctx, env, l.times)
			if err != nil {
				return result, err
			}
			l.add(s)
			table.Rows = append(table.Rows, row(fmt.Sprintf("%d steps/s", l.times.perSecond), s, 0.5, 0.9, 0.99, 0.999, 1))
			env.Log.Info("picked up under load", "steps/s", l.times.perSecond, "p99 ms", suite.Number(s.Quantile(0.99)))
		}
	}
	for _, l := range loads {
		result.Figures = append(result.Figures,
			suite.Of("pickup_"+l.name+"_rate", "steps/s", l.rates),
			suite.Of("pickup_"+l.name+"_p50", "ms", l.p50),
			suite.Of("pickup_"+l.name+"_p99", "ms", l.p99).WithGoal(suite.AtMost(l.bar)))
	}
	result.Tables = []suite.Table{table}
	result.Notes = []string{fmt.Sprintf("At 1,000 steps/s each of %d producers sends one message in a statement, at 70 %% batches of %d. pickup_70 is 70 %% of what the host drains from a full queue with no producer beside it, pickup_70_sustained of what it picks up while the producers keep %d messages before it.", thousand.producers, batches.batch, window)}
	return result, nil
}

// load is a rate at which the latency is measured, and what it was in each round.
type load struct {
	name  string
	rate  func() (int, error)
	times timetable
	bar   float64

	rates, p50, p99 stat.Sample
}

func (l *load) add(s stat.Sample) {
	l.rates = append(l.rates, float64(l.times.perSecond))
	l.p50, l.p99 = append(l.p50, s.Median()), append(l.p99, s.Quantile(0.99))
}

func seventyPercent(most float64, err error) (int, error) { return int(0.7 * most), err }

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
	return b.pace(messages), nil
}

// window is how many messages wait for the host while it is saturated: more than its
// slots, and not so many that the producers have the processor for themselves.
const window = 4 * slots

// sustain is how many steps a second the host picks up while producers send as many.
func sustain(ctx context.Context, env *suite.Env, messages int) (rate float64, err error) {
	b, err := open(ctx, env, hostproc.Config{Slots: slots, Batch: batch}, messages)
	if err != nil {
		return 0, err
	}
	defer func() { err = firstError(err, b.close(ctx)) }()
	size := suite.Pick(env.Form, 100, 100, 10)
	saturating := timetable{producers: 4, batch: size, perSecond: messages, seconds: 1, window: window}
	if _, err := b.send(ctx, saturating); err != nil {
		return 0, err
	}
	if err := b.settled(ctx, saturating.messages()); err != nil {
		return 0, err
	}
	return b.pace(saturating.messages()), nil
}

// pace is how many of the messages were picked up a second between the first tenth
// and the last one: until then the host reaches its pace.
func (b *bed) pace(messages int) float64 {
	at := make(stat.Sample, messages)
	for i := range at {
		at[i] = float64(b.stamps.At(i))
	}
	return 0.8 * float64(messages) / (at.Quantile(0.9) - at.Quantile(0.1)) * float64(time.Second)
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
	for i, phase := range rand.Perm(samples) {
		// Each message comes in another part of the interval, so that the median does
		// not depend on which parts chance preferred.
		pause := (float64(phase) + rand.Float64()) / float64(samples) * float64(interval) * float64(time.Millisecond)
		if s[i], err = b.lone(ctx, i, time.Duration(pause)); err != nil {
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
