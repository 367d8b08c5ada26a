package many

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/proc"
	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/internal/procmem"
	"github.com/stephost/stephost/internal/wait"
)

func namespaces(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	count := suite.Pick(env.Form, 500, 500, 5)
	block := suite.Pick(env.Form, 100, 30, 3)
	blocks := suite.Pick(env.Form, 6, 3, 1)
	all := make([]namespace, count)
	for i := range all {
		all[i] = namespace{name: fmt.Sprintf("ns%d", i), plugin: "bench"}
	}
	many, err := start(ctx, env, all, count+blocks*block, "", nil)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, many.stop(ctx)) }()
	if err := idle(ctx, env, many, &result); err != nil {
		return result, err
	}
	one, err := start(ctx, env, all[:1], count+blocks*block, "", nil)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, one.stop(ctx)) }()
	err = beside(ctx, one, many, block, blocks, &result)
	return result, err
}

// idle measures what the host and the server use while nothing happens.
func idle(ctx context.Context, env *suite.Env, w *world, result *suite.Result) error {
	rest := suite.Pick(env.Form, 10*time.Second, 5*time.Second, 100*time.Millisecond)
	span := suite.Pick(env.Form, 40*time.Second, 20*time.Second, 100*time.Millisecond)
	table := suite.Table{
		Title:  fmt.Sprintf("%d idle namespaces: processor time in percent of one core", len(w.namespaces)),
		Header: []string{"mode", "host and plugin", "PostgreSQL"},
	}
	for _, mode := range []eventsystem.Mode{eventsystem.Hybrid, eventsystem.PollingOnly, eventsystem.EventDrivenOnly} {
		if _, err := w.host.Admin.SetMode(ctx, mode); err != nil {
			return err
		}
		if err := wait.For(ctx, rest); err != nil {
			return err
		}
		hosts, err := used(ctx, span, w.host.PID(), env.Postgres.Pid())
		if err != nil {
			return err
		}
		table.Rows = append(table.Rows, []string{mode.String(), suite.Number(hosts[0]), suite.Number(hosts[1])})
		if mode == eventsystem.Hybrid {
			result.Figures = append(result.Figures,
				suite.Figure{Name: "idle_namespaces_cpu_percent", Unit: "%", Value: hosts[0]}.WithGoal(suite.AtMost(2)),
				suite.Figure{Name: "idle_namespaces_postgres_cpu_percent", Unit: "%", Value: hosts[1]})
		}
	}
	if _, err := w.host.Admin.SetMode(ctx, eventsystem.Hybrid); err != nil {
		return err
	}
	result.Tables = append(result.Tables, table)
	connections := `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'stephost `
	listening, err := w.db.Count(ctx, connections+`listen%'`)
	if err != nil {
		return err
	}
	total, err := w.db.Count(ctx, connections+`%'`)
	if err != nil {
		return err
	}
	memory, err := procmem.Of(w.host.PID())
	if err != nil {
		return err
	}
	result.Figures = append(result.Figures,
		suite.Figure{Name: "idle_listen_connections", Unit: "connections", Value: float64(listening)}.WithGoal(suite.AtMost(1)),
		suite.Figure{Name: "idle_connections", Unit: "connections", Value: float64(total)},
		suite.Figure{Name: "idle_namespaces_rss", Unit: "MB", Value: float64(memory.Resident) / 1e6})
	return nil
}

// used is the processor time of processes and all below them over a span, each in
// percent of one core.
func used(ctx context.Context, span time.Duration, pids ...int) ([]float64, error) {
	before := make([]time.Duration, len(pids))
	began := time.Now()
	var err error
	for i, pid := range pids {
		if before[i], err = proc.CPU(pid); err != nil {
			return nil, err
		}
	}
	if err := wait.For(ctx, span); err != nil {
		return nil, err
	}
	percent := make([]float64, len(pids))
	took := time.Since(began)
	for i, pid := range pids {
		after, err := proc.CPU(pid)
		if err != nil {
			return nil, err
		}
		percent[i] = 100 * (after - before[i]).Seconds() / took.Seconds()
	}
	return percent, nil
}

// beside compares the pickup from random queues of many with that from a host's
// only one. Each queue has had one message before, so that the producers'
// connections know their tables alike; they send for both from one connection.
func beside(ctx context.Context, one, many *world, block, blocks int, result *suite.Result) error {
	for i := range many.namespaces {
		for _, w := range []*world{one, many} {
			if _, err := w.pickup(ctx, w.namespaces[i%len(w.namespaces)].queue()); err != nil {
				return err
			}
		}
	}
	var samples [2]stat.Sample
	for range blocks {
		for range block {
			for at, w := range []*world{one, many} {
				if err := wait.For(ctx, 5*time.Millisecond+rand.N(60*time.Millisecond)); err != nil {
					return err
				}
				took, err := w.pickup(ctx, w.namespaces[rand.IntN(len(w.namespaces))].queue())
				if err != nil {
					return err
				}
				samples[at] = append(samples[at], milliseconds(took))
			}
		}
	}
	for _, w := range []*world{one, many} {
		if err := w.archived(ctx, w.sent, w.namespaces...); err != nil {
			return err
		}
	}
	alone, among := samples[0], samples[1]
	result.Figures = append(result.Figures,
		suite.Figure{Name: "pickup_500_vs_1", Unit: "x", Value: among.Median() / alone.Median(), N: len(among)},
		suite.Figure{Name: "pickup_500_vs_1_p99", Unit: "x", Value: among.Quantile(0.99) / alone.Quantile(0.99), N: len(among)})
	result.Tables = append(result.Tables, suite.Table{
		Title: "Pickup in ms, alternating", Header: quantileHeader,
		Rows: [][]string{
			quantiles("from the only namespace", alone),
			quantiles(fmt.Sprintf("from one of %d", len(many.namespaces)), among),
		},
	})
	return nil
}
