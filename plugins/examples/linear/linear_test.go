package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/plugins/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m) }

const blocks = `
plugin "linear" {
  command = PLUGIN
}
namespace "linear" {
  plugin       = "linear"
  result_queue = "linear_results"
}
`

func TestLinearWorkflow(t *testing.T) {
	t.Parallel()
	e := exampletest.Start(t, blocks, "linear_results")
	e.Send("linear_queue", `{"task_uuid": "task-1", "step_uuid": "step-1", "correlation_id": "corr-1", "value": 6}`)

	results := e.Rows(4, `SELECT (message->>'step') || ' ' || (message->'result'->>'value') FROM pgmq.q_linear_results
		WHERE message->>'task_uuid' = 'task-1' AND message->>'correlation_id' = 'corr-1' AND message->>'success' = 'true'
		ORDER BY 1`)
	require.Equal(t, []string{
		"linear_step_1 36", "linear_step_2 1296", "linear_step_3 1679616", "linear_step_4 2821109907456",
	}, results)
	e.Rows(4, `SELECT DISTINCT message->>'step_uuid' FROM pgmq.q_linear_results WHERE message->>'step_uuid' IS NOT NULL`)
}

func TestLinearOverflowIsPermanent(t *testing.T) {
	t.Parallel()
	e := exampletest.Start(t, blocks, "linear_results")
	e.Send("linear_queue", `{"step": "linear_step_4", "value": 9000000000}`)
	got := e.Rows(1, `SELECT message->'error'->>'message' FROM pgmq.q_linear_results`)
	require.Contains(t, got[0], "does not fit")
}

func TestConforms(t *testing.T) {
	t.Parallel()
	exampletest.Conforms(t, supervisor.Spec{Command: exampletest.Build(t)})
}
