package drain

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/handlers"
	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// knob is one setting of a host, turned while all others stay.
type knob struct {
	name, title string
	// curves are what is drained at each of its values.
	curves func(f suite.Form, self string) []curve
}

// curve is one kind of load.
type curve struct {
	label string
	// steps is how many each value gets.
	steps  int
	values []fleet
}

// base is what the other keys have while one is turned.
func base() hostproc.Config { return hostproc.Config{Slots: 2000, Batch: 1000} }

// turned makes a fleet of one host for each value of a key. Of a tiny form there is
// only the first.
func turned[V any](f suite.Form, values []V, label func(V) string, turn func(*fleet, V)) []fleet {
	if f == suite.Tiny {
		values = values[:1]
	}
	var all []fleet
	for _, v := range values {
		one := fleet{label: label(v), config: base()}
		turn(&one, v)
		all = append(all, one)
	}
	return all
}

func text(v string) string { return v }

func knobs() []knob {
	return []knob{
		{name: "concurrency", title: "namespace.concurrency", curves: func(f suite.Form, self string) []curve {
			load := func(label string, steps int, values []int, args []string) curve {
				return curve{label: label, steps: steps, values: turned(f, values, strconv.Itoa, func(one *fleet, slots int) {
					one.config.Slots, one.config.Batch = slots, min(1000, slots)
					if slots <= 50 {
						one.fewer = 5
					}
					one.handle(self, args)
				})}
			}
			return []curve{
				load("no-op", 60_000, []int{10, 50, 100, 500, 1000, 2000, 5000}, nil),
				load("waits 10 ms", 20_000, []int{10, 50, 100, 500, 1000, 2000, 5000}, handlers.Args(handlers.Sleep, 10*time.Millisecond)),
			}
		}},
		{name: "batch", title: "event_system.fallback_poller.batch_size", curves: func(f suite.Form, _ string) []curve {
			return []curve{{label: "no-op", steps: 60_000, values: turned(f, []int{10, 50, 100, 500, 1000, 2000}, strconv.Itoa, func(one *fleet, batch int) {
				one.config.Batch = batch
				if batch <= 50 {
					one.fewer = 4
				}
			})}}
		}},
		{name: "pool", title: "queue.pool.max_connections", curves: func(f suite.Form, _ string) []curve {
			return []curve{{label: "no-op", steps: 60_000, values: turned(f, []int{3, 4, 8, 16}, strconv.Itoa, func(one *fleet, connections int) {
				one.config.MaxConnections = connections
			})}}
		}},
		{name: "instances", title: "plugin.instances", curves: func(f suite.Form, self string) []curve {
			load := func(label string, steps int, args []string) curve {
				return curve{label: label, steps: steps, values: turned(f, []int{1, 2, 4}, strconv.Itoa, func(one *fleet, instances int) {
					one.config.Instances = instances
					one.handle(self, args)
				})}
			}
			return []curve{
				load("no-op", 60_000, nil),
				load("waits 1 ms", 60_000, handlers.Args(handlers.Sleep, time.Millisecond)),
				load("computes 1 ms", 6_000, handlers.Args(handlers.Spin, time.Millisecond)),
			}
		}},
		{name: "durability", title: "synchronous_commit of the host's role", curves: func(f suite.Form, _ string) []curve {
			load := func(slots int) curve {
				return curve{label: fmt.Sprintf("no-op, %d slots", slots), steps: 40_000, values: turned(f, []string{"on", "off"}, text, func(one *fleet, value string) {
					one.config.Slots, one.config.Batch = slots, min(1000, slots)
					if slots <= 50 {
						one.fewer = 4
					}
					one.database = [2]string{"synchronous_commit", value}
				})}
			}
			return []curve{load(10), load(50), load(2000)}
		}},
		{name: "completion", title: "queue.on_complete and namespace.result_queue", curves: func(f suite.Form, _ string) []curve {
			return []curve{{label: "no-op", steps: 60_000, values: turned(f, []string{"archive", "delete", "archive + result", "delete + result"}, text, func(one *fleet, value string) {
				if value[0] == 'd' {
					one.config.OnComplete = "delete"
				}
				if len(value) > len("archive") {
					one.config.ResultQueue = hostproc.ResultQueue
				}
			})}}
		}},
	}
}

// handle makes the steps those of the working plugin, unless there are no
// arguments.
func (f *fleet) handle(self string, args []string) {
	if len(args) > 0 {
		f.config.Plugin, f.config.Args = self, args
	}
}

// knobScenarios are one for each setting that a user may turn.
func knobScenarios() []suite.Scenario {
	var all []suite.Scenario
	for _, k := range knobs() {
		all = append(all, suite.Scenario{
			Name: "knob-" + k.name, About: "throughput by " + k.title, FullOnly: true, Run: k.run,
		})
	}
	return all
}

// run measures all values of the knob in turn, as often as there are rounds, but not
// more than three times.
func (k knob) run(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	result.Block = "knob-" + k.name
	table := suite.Table{Title: "`" + k.title + "`", Header: []string{"load", "value", "steps/s", "least – most", "CPU µs/step", "peak memory of the host MB"}}
	drawn := suite.Chart{Name: "knob-" + k.name, Title: "Steps per second by " + k.title, Unit: "steps/s"}
	for _, c := range k.curves(env.Form, env.Programs.Self) {
		var contenders []contender
		for _, v := range c.values {
			contenders = append(contenders, v.contender())
		}
		got, err := turns(ctx, env, min(3, env.Rounds), suite.Pick(env.Form, c.steps, c.steps/4, 100), contenders)
		if err != nil {
			return result, err
		}
		lowest, highest := 0, 0
		for i, r := range got {
			s := r.throughput()
			table.Rows = append(table.Rows, []string{
				c.label, c.values[i].label, suite.Number(s.Median()), suite.Number(s.Min()) + " – " + suite.Number(s.Max()),
				suite.Number(r.cpu().Median()), suite.Number(r.of(func(r run) float64 { return megabytes(r.Peak) }).Median()),
			})
			drawn.Bars = append(drawn.Bars, suite.Bar{Label: c.label + ": " + c.values[i].label, Value: s.Median(), Low: s.Min(), High: s.Max()})
			if s.Median() < got[lowest].throughput().Median() {
				lowest = i
			}
			if s.Median() > got[highest].throughput().Median() {
				highest = i
			}
		}
		span := ratio(figureName("knob_"+k.name+"_span_"+c.label), got[highest], got[lowest])
		span.Aside = true
		result.Figures = append(result.Figures, span)
	}
	result.Tables = []suite.Table{table}
	result.Charts = []suite.Chart{drawn}
	return result, nil
}

// figureName makes lower case letters, digits and underscores of a label.
func figureName(label string) string {
	name := make([]byte, 0, len(label))
	for _, c := range []byte(label) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_':
			name = append(name, c)
		case c == ' ':
			name = append(name, '_')
		}
	}
	return string(name)
}
