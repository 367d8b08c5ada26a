package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/plugins/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m) }

const blocks = `
plugin "orders" {
  command = PLUGIN
  env     = { ORDERS_REGION = "eu" }
  config {
    currency = "CHF"
  }
}
namespace "orders" {
  plugin       = "orders"
  result_queue = "results"
}
namespace "payments" {
  plugin       = "orders"
  result_queue = "results"
  retry {
    initial = "10ms"
  }
}
namespace "shipping" {
  plugin       = "orders"
  result_queue = "results"
}
`

func TestOrders(t *testing.T) {
	t.Parallel()
	e := exampletest.Start(t, blocks, "results")
	e.Send("orders_queue", `{"step": "validate", "order_id": "plain", "amount_cents": 1999}`)
	e.Send("orders_queue", `{"order_id": "retried", "amount_cents": 4250}`)
	e.Send("orders_queue", `{"step": "validate", "order_id": "large", "amount_cents": 12900}`)
	e.Send("orders_queue", `{"step": "validate", "order_id": "worthless", "amount_cents": 0}`)

	shipped := e.Rows(3, `SELECT message->'result'->>'tracking_id' || ' ' || (message->'result'->>'region')
		FROM pgmq.q_results WHERE message->>'step' = 'ship' ORDER BY 1`)
	require.Equal(t, []string{"t-large eu", "t-plain eu", "t-retried eu"}, shipped)

	charged := e.Rows(3, `SELECT (message->'result'->>'amount') || ' attempt ' || (message->>'attempt')
		FROM pgmq.q_results WHERE message->>'step' = 'charge' ORDER BY 1`)
	require.Equal(t, []string{"129.00 CHF attempt 1", "19.99 CHF attempt 1", "42.50 CHF attempt 2"}, charged)

	dead := e.Rows(1, `SELECT (message->>'order_id') || ' ' || (headers->'stephost'->'dead'->>'reason') FROM pgmq.q_orders_dead`)
	require.Equal(t, []string{"worthless permanent"}, dead)

	// The snooze gave the large order back once and spent no attempt.
	snoozed := e.Rows(1, `SELECT message->>'order_id' FROM pgmq.a_shipping_queue WHERE read_ct > 1`)
	require.Equal(t, []string{"large"}, snoozed)
	e.Rows(1, `SELECT 'first attempt' FROM pgmq.q_results WHERE message->>'step' = 'ship'
		AND message->'result'->>'tracking_id' = 't-large' AND message->>'attempt' = '1'`)
}

func TestConforms(t *testing.T) {
	t.Parallel()
	exampletest.Conforms(t, supervisor.Spec{Command: exampletest.Build(t)})
}
