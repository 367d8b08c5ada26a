package main

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/sdktest"
)

func TestSquare(t *testing.T) {
	t.Parallel()
	h := sdktest.Start(t, sdk.New(handlers()...))
	in := Input{TaskUUID: "task", CorrelationID: "corr", Value: -7}
	r := h.Run("", in)
	var out Output
	r.Decode(&out)
	require.Equal(t, Output{Value: 49}, out)

	// The same delivery, run again, makes the same next step.
	again := h.Run("", in, sdktest.Info(sdk.Info{IdempotencyKey: "k"}))
	require.Equal(t, again.Emitted, h.Run("", in, sdktest.Info(sdk.Info{IdempotencyKey: "k"})).Emitted)
	next := sdktest.Emitted[Input](r, sdk.ToNamespace("linear"))[0]
	require.Equal(t, "linear_step_2", next.Step)
	require.NotEmpty(t, next.StepUUID)

	require.Empty(t, h.Run("linear_step_4", in).Require(sdktest.Completed).Emitted)
	h.Run("linear_step_4", Input{Value: math.MaxInt32 + 1}).Require(sdktest.Permanent)
}
