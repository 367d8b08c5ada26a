// Command linear is a workflow of four steps in a row, each of which squares a
// number and hands it on to the next.
package main

import (
	"context"
	"fmt"
	"math"

	"github.com/google/uuid"

	"github.com/stephost/stephost/plugin/sdk"
)

// Input is the message of every step.
type Input struct {
	Step          string `json:"step"`
	TaskUUID      string `json:"task_uuid"`
	StepUUID      string `json:"step_uuid"`
	CorrelationID string `json:"correlation_id"`
	Value         int64  `json:"value"`
}

// Output is the result of every step.
type Output struct {
	Value int64 `json:"value"`
}

// names are the steps in order.
func names() []string {
	return []string{"linear_step_1", "linear_step_2", "linear_step_3", "linear_step_4"}
}

func main() { sdk.Main(handlers()...) }

func handlers() []sdk.Option {
	steps := names()
	options := make([]sdk.Option, 0, len(steps))
	for i, name := range steps {
		next := ""
		if i+1 < len(steps) {
			next = steps[i+1]
		}
		var first []sdk.HandlerOption
		if i == 0 {
			first = append(first, sdk.Default())
		}
		options = append(options, sdk.Handle(name, square(next), first...))
	}
	return options
}

// square makes the handler of a step that is followed by next, or by none.
func square(next string) func(context.Context, Input) (Output, error) {
	return func(ctx context.Context, in Input) (Output, error) {
		if in.Value > math.MaxInt32 || in.Value < -math.MaxInt32 {
			return Output{}, sdk.Permanent(fmt.Errorf("the square of %d does not fit", in.Value))
		}
		out := Output{Value: in.Value * in.Value}
		if next == "" {
			return out, nil
		}
		// The same delivery, run again, makes the same next step.
		key := sdk.StepInfo(ctx).IdempotencyKey
		return out, sdk.Emit(ctx, sdk.ToNamespace("linear"), Input{
			Step: next, Value: out.Value, TaskUUID: in.TaskUUID, CorrelationID: in.CorrelationID,
			StepUUID: uuid.NewSHA1(uuid.NameSpaceOID, []byte(key)).String(),
		})
	}
}
