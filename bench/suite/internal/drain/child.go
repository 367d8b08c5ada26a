package drain

import (
	"context"

	"github.com/stephost/stephost/bench/suite/internal/child"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// childRunner is a contender that is a child of the suite.
type childRunner struct{ *child.Child }

func startChild(ctx context.Context, env *suite.Env, name string, config any) (runner, error) {
	c, err := child.Start(ctx, env, name, config)
	if err != nil {
		return nil, err
	}
	return childRunner{c}, nil
}

// request asks a child to settle so many steps, all that there are.
type request struct {
	Steps int
	// Again says that more will follow, so that the child must not claim on.
	Again bool
}

// done is its answer.
type done struct{ Settled int }

func (r childRunner) PIDs() []int { return []int{r.PID()} }

func (r childRunner) Warm(ctx context.Context, steps int) error {
	return r.ask(ctx, request{Steps: steps, Again: true})
}

func (r childRunner) Drain(ctx context.Context, steps int) error {
	return r.ask(ctx, request{Steps: steps})
}

func (r childRunner) ask(ctx context.Context, ask request) error {
	var answer done
	return r.Ask(ctx, ask, &answer)
}

func (r childRunner) Stop(context.Context) error { return r.Child.Stop() }
