package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/sdktest"
)

const block = `
endpoint = "https://gateway.example"
patience = "1m"`

func TestCharge(t *testing.T) {
	h := sdktest.StartWith(t, setup, sdktest.Config(block))
	receipt, err := sdktest.Call[Receipt](h, "charge", Charge{OrderID: "17", Cents: 19_99})
	require.NoError(t, err)
	require.Equal(t, "r-1", receipt.ID)
}

func TestVerdicts(t *testing.T) {
	h := sdktest.StartWith(t, setup, sdktest.Config(block))

	r := h.Run("charge", Charge{OrderID: "18", Cents: 2}).Require(sdktest.RetryAfter)
	require.Equal(t, time.Minute, r.Delay)
	require.Equal(t, "the gateway is busy", r.Failure.Message)

	h.Run("charge", Charge{Cents: 1}).Require(sdktest.Permanent)
	h.Run("charge", Charge{Cents: 3}).Require(sdktest.Snooze)
	h.Run("charge", Charge{Cents: 4}).Require(sdktest.Retry)
}

func TestEmitted(t *testing.T) {
	h := sdktest.StartWith(t, setup, sdktest.Config(block))
	r := h.Run("charge", Charge{OrderID: "17", Cents: 5})
	sent := sdktest.Emitted[Ship](r, sdk.ToNamespace("shipping"))
	require.Equal(t, []Ship{{Step: "ship", OrderID: "17"}}, sent)
}

func TestImportStopsWhenItHasTo(t *testing.T) {
	h := sdktest.StartWith(t, setup, sdktest.Config(block))
	s := h.Go("import", Import{Rows: 10})
	require.Equal(t, "importing", s.Heartbeat().Message)
	s.Cancel(sdk.ErrLeaseLost)
	r := s.Wait().Require(sdktest.GivenBack)
	require.Equal(t, sdk.ErrLeaseLost.Error(), r.Failure.Message)
}

func TestImportTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := sdktest.StartWith(t, setup, sdktest.Config(block))
		r := h.Run("import", Import{Rows: 1000}, sdktest.Timeout(20*time.Second)).Require(sdktest.Retry)
		require.Equal(t, "timeout", r.Failure.Type)
		require.Equal(t, 20*time.Second, r.Duration)
	})
}

func TestImportTakesAMinuteForARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := sdktest.StartWith(t, setup, sdktest.Config(block))
		r := h.Run("import", Import{Rows: 30}, sdktest.Timeout(0)).Require(sdktest.Completed)
		require.Equal(t, 30*time.Minute, r.Duration)
		require.Len(t, r.Heartbeats, 30)
	})
}

func TestEndpointIsChecked(t *testing.T) {
	printed := sdktest.ConfigError(t, setup, sdktest.Config(`endpoint = "nowhere"`))
	require.Contains(t, printed, "config.hcl:2,12")
	require.Contains(t, printed, "must be a URL")
}

func TestAllOfConfig(t *testing.T) {
	sdktest.StartWith(t, setup, sdktest.Config(`
endpoint = "https://gateway.example"
api_key  = env("GATEWAY_KEY")
retries  = 3
tags     = { team = "shop" }
tls {
  ca_file = "/etc/ca.pem"
}
backend "eu" {
  url = "https://eu.example"
}
limit "small" {
}
limit "large" {
  per_second = 1
}`), sdktest.Env(map[string]string{"GATEWAY_KEY": "k"}))
}
