package exampletest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// KeepsItsKey demands that a handler is told the same idempotency key when its
// message runs again. The program's handler adds the key as a line to the file
// that the message has as its path, kills the process if there was none, and
// else returns the key.
func KeepsItsKey(t testing.TB, program string) {
	t.Helper()
	e := StartProgram(t, program, `
plugin "key" {
  command = PLUGIN
  restart {
    backoff_initial = "1ms"
  }
}
namespace "keys" {
  plugin       = "key"
  result_queue = "results"
}`, "results")
	path := filepath.Join(t.TempDir(), "keys")
	e.Send("keys_queue", fmt.Sprintf(`{"path": %q}`, path))
	key := e.Rows(1, `SELECT message->'result'->>'key' FROM pgmq.q_results WHERE message->>'idempotency_key' = message->'result'->>'key'`)[0]
	told, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, []string{key, key}, strings.Fields(string(told)))
	require.Regexp(t, `^keys_queue/1/\d{16}$`, key)
}
