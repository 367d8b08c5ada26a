package producers

import (
	"context"

	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// Scenarios of this package.
func Scenarios() []suite.Scenario {
	return []suite.Scenario{
		{Name: "producers", About: "queue send and Emit beside a multi-row INSERT, and what the notify trigger costs", FullOnly: true, Run: run},
	}
}

func run(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	for _, part := range []func(context.Context, *suite.Env, *suite.Result) error{sending, emitting, announcing} {
		if err := part(ctx, env, &result); err != nil {
			return result, err
		}
	}
	return result, nil
}

func firstError(err, then error) error {
	if err != nil {
		return err
	}
	return then
}
