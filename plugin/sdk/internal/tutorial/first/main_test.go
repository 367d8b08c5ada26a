package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/sdktest"
)

func TestCharge(t *testing.T) {
	h := sdktest.Start(t, sdk.New(sdk.Handle("charge", charge)))
	receipt, err := sdktest.Call[Receipt](h, "charge", Charge{OrderID: "17"})
	require.NoError(t, err)
	require.Equal(t, "r-17", receipt.ID)
}
