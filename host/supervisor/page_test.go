package supervisor

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor/pluginlog"
)

// TestProtocolPageTellsTheDeadlines keeps the page for authors of SDKs true.
func TestProtocolPageTellsTheDeadlines(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/protocol.md")
	require.NoError(t, err)
	page := strings.Join(strings.Fields(string(raw)), " ")
	spec := Spec{Name: "plugin", Command: "/plugin"}
	require.NoError(t, spec.complete())
	limits := spec.Timeouts
	for _, fact := range []string{
		row("start: until the handshake line, and connected", limits.Start),
		row("`Describe`", limits.Start),
		row("`Configure`", limits.Configure),
		row(fmt.Sprintf("`Health/Check`, once before the first step, then every %d s", limits.HealthInterval/time.Second), limits.Health),
		row("two `Execute` streams are opened, and stay open", limits.Health),
		row("a message on a stream is taken, by the stream's flow control", limits.Send),
		fmt.Sprintf("| the process ends, after `Shutdown` or SIGTERM | `kill_timeout` (%d s) |", limits.Stop/time.Second),
		fmt.Sprintf("stands still for %d s", limits.Send/time.Second),
		fmt.Sprintf("A line is cut at %d KiB", pluginlog.MaxLine>>10),
		fmt.Sprintf("The last %d lines of stderr", pluginlog.TailLines),
	} {
		require.Contains(t, page, fact)
	}
}

func row(step string, deadline time.Duration) string {
	return fmt.Sprintf("| %s | %d s |", step, deadline/time.Second)
}
