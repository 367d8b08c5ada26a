package host_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLinesOfAHandlerTellTheirStep has the Go SDK's logger and its slog bridge.
func TestLinesOfAHandlerTellTheirStep(t *testing.T) {
	t.Parallel()
	b := startConfigured(t, conf{})
	b.send("a_queue", `{"say": "charging the customer"}`)
	b.results(1)
	for _, by := range []string{"", " by slog"} {
		var line string
		b.eventually("the line is in the log", func() bool {
			for l := range strings.Lines(b.logs.String()) {
				if strings.Contains(l, "charging the customer"+by+":") {
					line = l
					return true
				}
			}
			return false
		})
		for _, field := range []string{"[INFO]", "plugin=test", "instance=0", "pid=", "namespace=a", "step=work", "message_id=1", "attempt=1"} {
			require.Contains(t, line, field)
		}
	}
}

// TestReloadedLogLevelReachesPlugins has a plugin that runs on.
func TestReloadedLogLevelReachesPlugins(t *testing.T) {
	t.Parallel()
	b := start(t, settings{})
	debug := func() bool {
		for line := range strings.Lines(b.logs.String()) {
			if strings.Contains(line, "[DEBUG]") && strings.Contains(line, "charging the customer") {
				return true
			}
		}
		return false
	}
	b.send("a_queue", `{"say": "charging the customer"}`)
	b.results(1)
	require.False(t, debug())
	pid := b.plugin().Instances[0].PID

	b.reconfigured(settings{host: `log_level = "debug"`})
	b.eventually("the plugin logs at debug", func() bool {
		b.send("a_queue", `{"say": "charging the customer"}`)
		return debug()
	})
	require.Equal(t, pid, b.plugin().Instances[0].PID)
}
