// Package greeter_test runs the Node.js example.
package greeter_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/conformance"
	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/plugins/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m) }

const sdk = "../../../plugin/node"

const namespaces = `
namespace "greetings" {
  plugin       = "greeter"
  result_queue = "results"
}
namespace "post" {
  plugin       = "greeter"
  result_queue = "results"
  retry {
    initial = "1h"
    max     = "1h"
  }
}
`

func TestGreeter(t *testing.T) {
	t.Parallel()
	for _, tls := range []string{"auto", "off"} {
		t.Run("tls "+tls, func(t *testing.T) {
			t.Parallel()
			exampletest.NeedNode(t, sdk, ".")
			e := exampletest.StartProgram(t, "greeter.js", `
plugin "greeter" {
  command = PLUGIN
  tls     = "`+tls+`"
  config {
    greetings = { en = "Hello, {name}!", de = "Grüezi, {name}." }
    closed    = "10ms"
  }
}`+namespaces, "results")
			e.Send("greetings_queue", `{"name": "Ada", "language": "en"}`)
			e.Send("greetings_queue", `{"step": "greet", "name": "Zoë", "language": "de"}`)
			e.Send("greetings_queue", `{"name": "Cicero", "language": "la"}`)

			// RetryAfter wins over the hour of the policy.
			posted := e.Rows(2, `SELECT message->'result'->>'posted' || ' attempt ' || (message->>'attempt')
				FROM pgmq.q_results WHERE message->>'step' = 'post' ORDER BY 1`)
			require.Equal(t, []string{"Grüezi, Zoë. attempt 2", "Hello, Ada! attempt 2"}, posted)
			dead := e.Rows(1, `SELECT headers->'stephost'->'dead'->>'reason' || ': ' || (headers->'stephost'->'dead'->>'error')
				FROM pgmq.q_greetings_dead`)
			require.Equal(t, []string{"permanent: there is no greeting in language la"}, dead)
		})
	}
}

func TestKeyIsTheSameAfterACrash(t *testing.T) {
	t.Parallel()
	exampletest.NeedNode(t, sdk, ".")
	exampletest.KeepsItsKey(t, "testdata/key.js")
}

func TestConforms(t *testing.T) {
	t.Parallel()
	exampletest.NeedNode(t, sdk, ".")
	exampletest.Conforms(t, supervisor.Spec{Command: exampletest.Abs(t, "greeter.js")},
		conformance.Sample{Step: "greet", Input: []byte(`{"name": "Ada"}`)},
		conformance.Sample{Step: "engrave", Input: []byte(`{}`)})
}

func TestComplaintsPointAtTheLine(t *testing.T) {
	t.Parallel()
	exampletest.NeedNode(t, sdk, ".")
	require.Equal(t, []string{
		"7: there is no {name} in it",
		"8: there is no {name} in it",
	}, exampletest.Complaints(t, "greeter.js", `queue "pgmq" {}
plugin "greeter" {
  command = PLUGIN
  config {
    greetings = {
      en = "Hello, {name}!"
      de = "Hallo!"
      fr = "Bonjour !"
    }
  }
}
namespace "greetings" {
  plugin = "greeter"
}`))
}
