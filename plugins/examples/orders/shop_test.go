package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/sdktest"
)

// These tests need neither a host nor a database; orders_test.go has both.

func TestValidate(t *testing.T) {
	t.Parallel()
	h := sdktest.StartWith(t, setup)
	for order, verdict := range map[Order]sdktest.Verdict{
		{OrderID: "good", AmountCents: 1}: sdktest.Completed,
		{OrderID: "worthless"}:            sdktest.Permanent,
		{AmountCents: 1}:                  sdktest.Permanent,
	} {
		r := h.Run("validate", order).Require(verdict)
		if verdict == sdktest.Completed {
			order.Step = "charge"
			require.Equal(t, []Order{order}, sdktest.Emitted[Order](r, sdk.ToNamespace("payments")))
		}
	}
}

func TestChargeIsTriedAgain(t *testing.T) {
	t.Parallel()
	h := sdktest.StartWith(t, setup, sdktest.Config(`currency = "CHF"`))
	order := Order{OrderID: "17", AmountCents: 42_50}
	h.Run("charge", order).Require(sdktest.Retry)
	receipt, err := sdktest.Call[Receipt](h, "charge", order, sdktest.Attempt(2))
	require.NoError(t, err)
	require.Equal(t, Receipt{ReceiptID: "r-17", Amount: "42.50 CHF"}, receipt)
}

func TestLargeOrdersWaitForTheirParcel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := sdktest.StartWith(t, setup)
		large := Order{OrderID: "17", AmountCents: 100_00}
		sent := sdktest.Info(sdk.Info{EnqueuedAt: time.Now()})
		r := h.Run("ship", large, sent).Require(sdktest.Snooze)
		require.Equal(t, packingTime, r.Delay)
		time.Sleep(r.Delay)
		h.Run("ship", large, sent).Require(sdktest.Completed)
	})
}

// The first step's message goes through all three, as the host would take it.
func TestAnOrderGoesThroughAllSteps(t *testing.T) {
	t.Parallel()
	h := sdktest.StartWith(t, setup)
	var steps []string
	next := []sdktest.Message{{Body: []byte(`{"order_id": "17", "amount_cents": 1999}`)}}
	for len(next) > 0 {
		r := h.Run("", next[0].Body).Require(sdktest.Completed)
		steps = append(steps, r.Step)
		next = append(next[1:], r.Emitted...)
	}
	require.Equal(t, []string{"validate", "charge", "ship"}, steps)
}

func TestCurrencyIsChecked(t *testing.T) {
	t.Parallel()
	require.Equal(t, `Error: Plugin rejects a value
  on config.hcl:2,12
   2 | currency = "EURO"
     |            ^^^^^^
  "EURO" is not the code of a currency
`, sdktest.ConfigError(t, setup, sdktest.Config(`currency = "EURO"`)))
}
