package main

import (
	"testing"

	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/plugins/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m) }

func TestNoop(t *testing.T) {
	t.Parallel()
	e := exampletest.Start(t, `
plugin "noop" {
  command = PLUGIN
}
namespace "noop" {
  plugin       = "noop"
  result_queue = "results"
}`, "results")
	e.Send("noop_queue", `{}`)
	e.Rows(1, `SELECT message->>'status' FROM pgmq.q_results WHERE message->'result' = 'null' AND message->>'step' = 'noop'`)
}

func TestConforms(t *testing.T) {
	t.Parallel()
	exampletest.Conforms(t, supervisor.Spec{Command: exampletest.Build(t)})
}
