package drain

import (
	"context"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// prices tells what one step costs the server, for the model of where one server
// ends.
func prices(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	n := suite.Pick(env.Form, 50_000, 20_000, 400)
	result.Block = "price"
	result.Tables = []suite.Table{{
		Title:  "What one step costs PostgreSQL",
		Header: []string{"setting", "WAL bytes", "flushes", "transactions", "transaction ids", "dead rows", "CPU µs", "CPU µs of host and plugin"},
	}}
	settings := []struct {
		name, label string
		config      hostproc.Config
	}{
		{"", "archive, 2000 slots", hostproc.Config{Slots: 2000, Batch: 1000}},
		{"_delete", "delete, 2000 slots", hostproc.Config{Slots: 2000, Batch: 1000, OnComplete: "delete"}},
		{"_results", "archive and a result, 2000 slots", hostproc.Config{Slots: 2000, Batch: 1000, ResultQueue: hostproc.ResultQueue}},
		{"_50", "archive, 50 slots", hostproc.Config{Slots: 50, Batch: 100}},
	}
	for _, s := range settings[:suite.Pick(env.Form, len(settings), len(settings), 1)] {
		var p price
		if _, err := measure(ctx, env, fleet{label: s.label, config: s.config, priced: func(got price) { p = got }}.contender(), n); err != nil {
			return result, err
		}
		timed, err := measure(ctx, env, fleet{label: s.label, config: s.config}.contender(), n)
		if err != nil {
			return result, err
		}
		env.Log.Info("priced", "setting", s.label, "WAL bytes", int(p.Bytes), "cpu us", timed.CPUPostgres)
		result.Figures = append(result.Figures,
			suite.Figure{Name: "wal_per_step" + s.name, Value: p.Bytes, Unit: "B"},
			suite.Figure{Name: "flushes_per_1000_steps" + s.name, Value: 1000 * p.Syncs, Unit: "flushes"},
		)
		row := []string{s.label}
		for _, v := range []float64{p.Bytes, p.Syncs, p.Transactions, p.XIDs, p.Dead, timed.CPUPostgres, timed.CPUOwn} {
			row = append(row, suite.Number(v))
		}
		result.Tables[0].Rows = append(result.Tables[0].Rows, row)
	}
	return result, nil
}
