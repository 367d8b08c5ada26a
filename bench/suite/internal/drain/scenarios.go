package drain

import (
	"context"

	"github.com/stephost/stephost/bench/suite/internal/child"
	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// Scenarios of this package.
func Scenarios() []suite.Scenario {
	all := []suite.Scenario{
		{Name: "drain", About: "throughput at the best setting, beside the SQL limit, River and a plain pgmq consumer", Run: best},
		{Name: "drain-50", About: "throughput with 50 slots, beside River with 50 workers", Run: fifty},
		{Name: "drain-results", About: "throughput with a result message for each step, beside SQL with the same inserts", Run: variant("results", pgmqQueue{results: true}, suite.AtLeast(0.8, 0))},
		{Name: "drain-delete", About: "throughput with on_complete = \"delete\", beside SQL that deletes", FullOnly: true, Run: variant("delete", pgmqQueue{deleted: true}, nil)},
		{Name: "hosts", About: "throughput of 1, 2 and 4 hosts that share a queue", FullOnly: true, Run: several},
		{Name: "price", About: "what a step costs PostgreSQL", FullOnly: true, Run: prices},
	}
	return append(all, knobScenarios()...)
}

// Programs are the children of this package.
func Programs() map[string]child.Program {
	return map[string]child.Program{sqlChild: SQLProgram, riverChild: RiverProgram, brokerChild: BrokerProgram}
}

func best(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	n, swept := steps(env.Form)
	all := settings(env.Form)
	var contenders []contender
	add := func(c contender, t suite.Table, err error) error {
		contenders = append(contenders, c)
		if len(t.Rows) > 0 {
			result.Tables = append(result.Tables, t)
		}
		return err
	}
	host, table, err := sweep(ctx, env, "Sweep of stephost", swept, all.host)
	if err := add(host.contender(), table, err); err != nil {
		return result, err
	}
	sql, table, err := sweep(ctx, env, "Sweep of SQL", swept, all.sql)
	if err := add(sql.contender(), table, err); err != nil {
		return result, err
	}
	river, table, err := sweep(ctx, env, "Sweep of River", swept, all.river)
	if err := add(river.contender(), table, err); err != nil {
		return result, err
	}
	consumer, table, err := sweep(ctx, env, "Sweep of a plain pgmq consumer", swept, all.loop)
	if err := add(consumer.contender(), table, err); err != nil {
		return result, err
	}
	contenders = append(contenders, brokerSetting{Workers: sql.Connections, Batch: 1000}.contender())
	got, err := rounds(ctx, env, n, contenders)
	if err != nil {
		return result, err
	}
	ours, limit, theirs, plain, statements := got[0], got[1], got[2], got[3], got[4]
	result.Figures = []suite.Figure{
		suite.Of("drain", "steps/s", ours.throughput()),
		suite.Of("drain_sql", "steps/s", limit.throughput()),
		suite.Of("drain_river", "steps/s", theirs.throughput()),
		suite.Of("drain_loop", "steps/s", plain.throughput()),
		suite.Of("drain_statements", "steps/s", statements.throughput()),
		ratio("drain_vs_river", ours, theirs).WithGoal(suite.AtLeast(2.5, 3)),
		ratio("drain_vs_sql", ours, limit).WithGoal(suite.AtLeast(0.85, 1)),
		ratio("drain_vs_loop", ours, plain),
		ratio("drain_vs_statements", ours, statements),
		suite.Of("cpu_per_step", "us", ours.cpu()),
		suite.Of("cpu_per_step_sql", "us", limit.cpu()),
		suite.Of("cpu_per_step_river", "us", theirs.cpu()),
		suite.Of("cpu_per_step_loop", "us", plain.cpu()),
		suite.Of("cpu_per_step_statements", "us", statements.cpu()),
		suite.Of("cpu_vs_river", "x", stat.Ratios(ours.cpu(), theirs.cpu())),
		suite.Of("host_rss", "MB", ours.of(func(r run) float64 { return megabytes(r.Peak) })),
	}
	result.Tables = append(result.Tables, details("Drain, each at its best setting", contenders, got))
	result.Charts = append(result.Charts, chart("drain", "No-op steps drained per second, each at its best setting", contenders, got))
	return result, nil
}

func ratio(name string, a, b runs) suite.Figure {
	return suite.Of(name, "x", stat.Ratios(a.throughput(), b.throughput()))
}

func fifty(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	n, swept := steps(env.Form)
	var candidates []riverSetting
	for _, pool := range suite.Pick(env.Form, []int{4, 10}, []int{10}, []int{4}) {
		candidates = append(candidates, riverSetting{Workers: 50, Pool: pool})
	}
	river, table, err := sweep(ctx, env, "Sweep of River", swept, candidates)
	if err != nil {
		return result, err
	}
	if len(table.Rows) > 0 {
		result.Tables = append(result.Tables, table)
	}
	contenders := []contender{hostSetting{slots: 50, batch: 100}.contender(), river.contender()}
	got, err := rounds(ctx, env, suite.Pick(env.Form, n, n/2, n), contenders)
	if err != nil {
		return result, err
	}
	result.Figures = []suite.Figure{
		suite.Of("drain_50", "steps/s", got[0].throughput()),
		suite.Of("drain_river_50", "steps/s", got[1].throughput()),
		ratio("drain_vs_river_50", got[0], got[1]).WithGoal(suite.AtLeast(2.5, 3)),
		suite.Of("cpu_per_step_50", "us", got[0].cpu()),
		suite.Of("cpu_vs_river_50", "x", stat.Ratios(got[0].cpu(), got[1].cpu())),
	}
	result.Tables = append(result.Tables, details("Drain with 50 in flight", contenders, got))
	result.Charts = []suite.Chart{chart("drain-50", "No-op steps drained per second with 50 in flight", contenders, got)}
	return result, nil
}

// variant compares with SQL where the queue ends in another way.
func variant(name string, work pgmqQueue, goal *suite.Goal) func(context.Context, *suite.Env) (suite.Result, error) {
	return func(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
		n, swept := steps(env.Form)
		n = suite.Pick(env.Form, n, n/2, n)
		slots := suite.Pick(env.Form, 2000, 2000, 200)
		host := hostSetting{slots: slots, batch: slots / 2, work: work}
		var candidates []sqlSetting
		for _, s := range variantSettings(env.Form) {
			s.Deleted, s.Results = work.deleted, work.results
			candidates = append(candidates, s)
		}
		sql, table, err := sweep(ctx, env, "Sweep of SQL", swept, candidates)
		if err != nil {
			return result, err
		}
		contenders := []contender{host.contender(), sql.contender()}
		got, err := rounds(ctx, env, n, contenders)
		if err != nil {
			return result, err
		}
		figure := ratio("drain_"+name+"_vs_sql", got[0], got[1])
		figure.Goal = goal
		result.Figures = []suite.Figure{
			suite.Of("drain_"+name, "steps/s", got[0].throughput()),
			suite.Of("drain_sql_"+name, "steps/s", got[1].throughput()),
			figure,
		}
		if len(table.Rows) > 0 {
			result.Tables = append(result.Tables, table)
		}
		result.Tables = append(result.Tables, details("Drain, "+name, contenders, got))
		return result, nil
	}
}

func variantSettings(f suite.Form) []sqlSetting {
	var all []sqlSetting
	for _, shape := range suite.Pick(f, []shape{alternate, pipeline}, []shape{pipeline}, []shape{pipeline}) {
		for _, connections := range suite.Pick(f, []int{2, 3, 4}, []int{3}, []int{2}) {
			all = append(all, sqlSetting{Shape: shape, Connections: connections, Batch: suite.Pick(f, 1000, 1000, 100)})
		}
	}
	return all
}
