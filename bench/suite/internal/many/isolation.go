package many

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/stamps"
	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
	"github.com/stephost/stephost/internal/wait"
)

// The slots of the host, all of which the slow namespace may have, and the load on
// the other one.
const (
	hostSlots = 200
	calmRate  = 500 // per second
)

func isolation(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	for _, variant := range []struct{ name, figure, plugin string }{
		{"in the same plugin process", "isolation_p99_ratio", "bench"},
		{"in a plugin of its own", "isolation_own_plugin_p99_ratio", "slow"},
	} {
		if err := isolate(ctx, env, variant.name, variant.figure, variant.plugin, &result); err != nil {
			return result, fmt.Errorf("slow handlers %s: %w", variant.name, err)
		}
	}
	return result, nil
}

// isolate alternates between the slow namespace at rest, at full concurrency and at
// rest again. How the two at rest differ is what the figure is worth. Both compare all
// rounds together, since the p99 of a single one hangs on two dozen messages.
func isolate(ctx context.Context, env *suite.Env, title, figure, plugin string, result *suite.Result) (err error) {
	span := suite.Pick(env.Form, 5*time.Second, 3*time.Second, 100*time.Millisecond)
	rounds := suite.Pick(env.Form, 5, 2, 1)
	handler := suite.Pick(env.Form, 10*time.Second, 5*time.Second, 200*time.Millisecond)
	burst := int(span.Seconds() * calmRate)
	calm := namespace{name: "calm", plugin: "bench", concurrency: 50}
	busy := namespace{name: "busy", plugin: plugin, concurrency: hostSlots}
	w, err := start(ctx, env, []namespace{calm, busy}, (3*rounds+1)*burst, fmt.Sprintf("max_concurrent_processors = %d", hostSlots), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop(ctx)) }()
	if _, err := w.load(ctx, env, calm.queue(), burst); err != nil {
		return err // warm-up
	}
	var before, beside, after stat.Sample
	slow := 0
	for range rounds {
		resting, err := w.load(ctx, env, calm.queue(), burst)
		if err != nil {
			return err
		}
		// More than fit, so that what ends makes room for the next.
		slow += hostSlots * 5 / 4
		if err := w.db.Exec(ctx, fmt.Sprintf(`INSERT INTO pgmq.q_%s (vt, message) SELECT clock_timestamp(), '{"step": "sleep", "ms": %d}' FROM generate_series(1, %d)`,
			busy.queue(), handler.Milliseconds(), hostSlots*5/4)); err != nil {
			return err
		}
		if err := w.inFlight(ctx, busy.name, func(n int) bool { return n > hostSlots/2 }); err != nil {
			return err
		}
		under, err := w.load(ctx, env, calm.queue(), burst)
		if err != nil {
			return err
		}
		if err := w.archived(ctx, slow, busy); err != nil {
			return err
		}
		rested, err := w.load(ctx, env, calm.queue(), burst)
		if err != nil {
			return err
		}
		before, beside, after = append(before, resting...), append(beside, under...), append(after, rested...)
	}
	if err := w.archived(ctx, w.sent, calm); err != nil {
		return err
	}
	alone := append(slices.Clone(before), after...)
	p99 := func(s stat.Sample) float64 { return s.Quantile(0.99) }
	result.Figures = append(result.Figures,
		suite.Figure{Name: figure, Unit: "x", Value: p99(beside) / p99(alone), N: rounds, Goal: suite.AtMost(1.1)},
		suite.Figure{Name: figure + "_noise", Unit: "x", Value: p99(after) / p99(before), N: rounds})
	result.Tables = append(result.Tables, suite.Table{
		Title: fmt.Sprintf("Pickup in ms at %d steps/s, slow handlers %s", calmRate, title), Header: quantileHeader,
		Rows: [][]string{quantiles("without slow handlers", alone), quantiles("with them", beside)},
	})
	return nil
}

// producers send the load, each its share; a commit may take longer than the time
// between two messages.
const producers = 4

// load sends messages at the rate, whatever becomes of them, and returns how long
// each took to the start of its handler, in ms.
func (w *world) load(ctx context.Context, env *suite.Env, queue string, n int) (stat.Sample, error) {
	first := w.sent
	w.sent += n
	began := time.Now()
	sent := make([]int64, n)
	errs := make([]error, producers)
	var all sync.WaitGroup
	for p := range producers {
		all.Go(func() { errs[p] = w.produce(ctx, env, queue, first, p, began, sent) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	latencies := make(stat.Sample, n)
	for i := range n {
		started, ok := w.stamps.Wait(first+i, patience)
		if !ok {
			return nil, fmt.Errorf("message %d was not picked up", first+i)
		}
		latencies[i] = milliseconds(time.Duration(started - sent[i]))
	}
	// The first sends of a connection take longer than anything that is compared.
	return latencies[n/10:], nil
}

func (w *world) produce(ctx context.Context, env *suite.Env, queue string, first, p int, began time.Time, sent []int64) error {
	conn, err := env.Connect(ctx, w.db.DSN)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for i := p; i < len(sent); i += producers {
		if err := wait.For(ctx, time.Until(began.Add(time.Duration(i)*time.Second/calmRate))); err != nil {
			return err
		}
		sent[i] = stamps.Now()
		if _, err := conn.Exec(ctx, `SELECT pgmq.send($1::text, jsonb_build_object('n', $2::int))`, queue, first+i); err != nil {
			return fmt.Errorf("send a message: %w", err)
		}
	}
	return nil
}
