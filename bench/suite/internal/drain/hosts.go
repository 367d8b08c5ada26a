package drain

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// several lets 1, 2 and 4 hosts share one queue: with the same slots in all, and
// with the same slots each.
func several(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	n := suite.Pick(env.Form, 100_000, 40_000, 400)
	slots := suite.Pick(env.Form, 2000, 2000, 40)
	hosts := suite.Pick(env.Form, []int{1, 2, 4}, []int{1, 2, 4}, []int{1, 2})
	var all []contender
	seen := make([][]shares, 0, 2*len(hosts))
	fleetOf := func(hosts, each int) {
		at := len(seen)
		seen = append(seen, nil)
		f := fleet{
			label: fmt.Sprintf("%s, %d slots each", counted(hosts, "host"), each), hosts: hosts,
			config: hostproc.Config{Slots: each, Batch: min(1000, each)},
			shared: func(s shares) { seen[at] = append(seen[at], s) },
		}
		all = append(all, f.contender())
	}
	for _, h := range hosts {
		fleetOf(h, slots/h)
	}
	for _, h := range hosts[1:] {
		fleetOf(h, slots)
	}
	got, err := rounds(ctx, env, n, all)
	if err != nil {
		return result, err
	}
	result.Figures = []suite.Figure{suite.Of("hosts_1", "steps/s", got[0].throughput())}
	for i, h := range hosts[1:] {
		result.Figures = append(result.Figures,
			ratio(fmt.Sprintf("hosts_%d_vs_1", h), got[1+i], got[0]),
			ratio(fmt.Sprintf("hosts_%d_vs_1_slots_each", h), got[len(hosts)+i], got[0]),
		)
	}
	table := details(fmt.Sprintf("Several hosts on one queue of %d steps", n), all, got)
	table.Header = append(table.Header, "least share", "most share", "claimed twice", "deadlocks")
	twice, deadlocks := 0, 0
	for i := range table.Rows {
		var least, most stat.Sample
		again, locked := 0, 0
		for _, s := range seen[i] {
			least = append(least, float64(slices.Min(s.Steps))/float64(n))
			most = append(most, float64(slices.Max(s.Steps))/float64(n))
			again, locked = again+s.Redelivered, locked+s.Deadlocks
		}
		table.Rows[i] = append(table.Rows[i], percent(least.Median()), percent(most.Median()), strconv.Itoa(again), strconv.Itoa(locked))
		twice, deadlocks = twice+again, deadlocks+locked
	}
	result.Figures = append(result.Figures,
		suite.Figure{Name: "hosts_claimed_twice", Value: float64(twice), Unit: "steps", Goal: suite.AtMost(0)},
		suite.Figure{Name: "hosts_deadlocks", Value: float64(deadlocks), Unit: "deadlocks", Goal: suite.AtMost(0)},
	)
	result.Block = "hosts"
	result.Notes = []string{"Each host is a `stephost run` with a plugin process of its own. All of them, their plugins and PostgreSQL share the cores: with few of these the figure shows what sharing a queue costs, and not how hosts add up."}
	result.Tables = []suite.Table{table}
	result.Charts = []suite.Chart{chart("hosts", "No-op steps drained per second by several hosts", all, got)}
	return result, nil
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }
