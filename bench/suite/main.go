// Command suite is `make bench`: it measures stephost beside its peers and
// beside what PostgreSQL can do, and ends with one line for each figure. See
// internal/suite for what a scenario is.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/stephost/stephost/bench/suite/internal/child"
	"github.com/stephost/stephost/bench/suite/internal/drain"
	"github.com/stephost/stephost/bench/suite/internal/growth"
	"github.com/stephost/stephost/bench/suite/internal/handlers"
	"github.com/stephost/stephost/bench/suite/internal/many"
	"github.com/stephost/stephost/bench/suite/internal/pickup"
	"github.com/stephost/stephost/bench/suite/internal/producers"
	"github.com/stephost/stephost/bench/suite/internal/stamps"
	"github.com/stephost/stephost/bench/suite/internal/steady"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// scenarios is the list, in the order in which they run and are reported.
func scenarios() []suite.Scenario {
	var all []suite.Scenario
	all = append(all, drain.Scenarios()...)
	all = append(all, pickup.Scenarios()...)
	all = append(all, many.Scenarios()...)
	all = append(all, steady.Scenarios()...)
	all = append(all, producers.Scenarios()...)
	all = append(all, growth.Scenarios()...)
	return all
}

// children are what the suite starts in processes of their own.
func children() map[string]child.Program {
	all := make(map[string]child.Program)
	for _, programs := range []map[string]child.Program{drain.Programs(), pickup.Programs()} {
		for name, program := range programs {
			all[name] = program
		}
	}
	return all
}

// asOther runs this program as what the suite has started it for, if it has.
func asOther(args []string) (code int, other bool) {
	switch {
	case len(args) > 0 && args[0] == child.Command:
		return child.Main(args[1:], children()), true
	case len(args) > 0 && args[0] == handlers.Command:
		return handlers.Main(args[1:]), true
	case len(args) > 0 && args[0] == many.PluginCommand:
		return many.PluginMain(args[1:]), true
	case len(args) > 0 && args[0] == stamps.PluginCommand:
		return stamps.PluginMain(args[1:]), true
	case len(args) > 0 && args[0] == producers.PluginCommand:
		return producers.PluginMain(), true
	}
	return 0, false
}

func main() {
	if code, other := asOther(os.Args[1:]); other {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
