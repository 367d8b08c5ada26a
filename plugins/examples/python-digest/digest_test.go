// Package digest_test runs the Python example.
package digest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/conformance"
	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/plugins/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m) }

const findPython = "../../../plugin/python/find-python"

const namespaces = `
namespace "digests" {
  plugin       = "digest"
  result_queue = "results"
}
namespace "publishing" {
  plugin       = "digest"
  result_queue = "results"
}
`

func TestDigest(t *testing.T) {
	t.Parallel()
	for _, tls := range []string{"auto", "off"} {
		t.Run("tls "+tls, func(t *testing.T) {
			t.Parallel()
			exampletest.NeedPython(t, findPython)
			e := exampletest.StartProgram(t, "digest", `
plugin "digest" {
  command = PLUGIN
  tls     = "`+tls+`"
  config {
    algorithm = "md5"
    embargo   = "3s"
  }
}`+namespaces, "results")
			e.Send("digests_queue", `{"text": "Zoë"}`)
			e.Send("digests_queue", `{"step": "digest"}`)

			const digest = "fb44af73417cf03c023d098e7f07c114"
			published := e.Rows(1, `SELECT message->'result'->>'published' || ' attempt ' || (message->>'attempt')
				FROM pgmq.q_results WHERE message->>'step' = 'publish'`)
			require.Equal(t, []string{digest + " attempt 1"}, published)
			// The snooze gave the message back and spent no attempt. It came long before
			// the embargo was over, however busy the machine is.
			e.Rows(1, `SELECT 'delivered again' FROM pgmq.a_publishing_queue WHERE read_ct > 1`)
			dead := e.Rows(1, `SELECT headers->'stephost'->'dead'->>'reason' || ': ' || (headers->'stephost'->'dead'->>'error')
				FROM pgmq.q_digests_dead`)
			require.Equal(t, []string{"permanent: there is no text in the message"}, dead)
		})
	}
}

func TestKeyIsTheSameAfterACrash(t *testing.T) {
	t.Parallel()
	exampletest.NeedPython(t, findPython)
	exampletest.KeepsItsKey(t, "testdata/key")
}

func TestConforms(t *testing.T) {
	t.Parallel()
	exampletest.NeedPython(t, findPython)
	exampletest.Conforms(t, supervisor.Spec{Command: exampletest.Abs(t, "digest")},
		conformance.Sample{Step: "digest", Input: []byte(`{"text": "Zoë"}`)},
		conformance.Sample{Step: "stretch", Input: []byte(`{}`)})
}

func TestComplaintsPointAtTheLine(t *testing.T) {
	t.Parallel()
	exampletest.NeedPython(t, findPython)
	require.Equal(t, []string{"5: hashlib has no sha255"}, exampletest.Complaints(t, "digest", `queue "pgmq" {}
plugin "digest" {
  command = PLUGIN
  config {
    algorithm = "sha255"
  }
}
namespace "digests" {
  plugin = "digest"
}`))
}
