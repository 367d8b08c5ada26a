package producers

import (
	"context"

	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// Scenarios of this package.
func Scenarios() []suite.Scenario {
	return []suite.Scenario{
		{Name: "producers", About: "queue send and Emit beside a multi-row INSERT", FullOnly: true, Run: parts(sending, emitting)},
		{Name: "announcing", About: "what the notify trigger costs producers", FullOnly: true, Run: parts(announcing)},
	}
}

// parts is a scenario of several.
func parts(all ...func(context.Context, *suite.Env, *suite.Result) error) func(context.Context, *suite.Env) (suite.Result, error) {
	return func(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
		for _, part := range all {
			if err := part(ctx, env, &result); err != nil {
				return result, err
			}
		}
		return result, nil
	}
}

func firstError(err, then error) error {
	if err != nil {
		return err
	}
	return then
}
