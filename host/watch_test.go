package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/internal/filewatch"
)

// another is the test plugin with another content.
func another(t *testing.T, mark string) []byte {
	t.Helper()
	original, err := testPlugin()
	require.NoError(t, err)
	data, err := os.ReadFile(original)
	require.NoError(t, err)
	return append(data, mark...)
}

// serves waits until a generation of the plugin serves and the older ones are
// gone.
func (b *bundle) serves(generation int) {
	b.t.Helper()
	var plugin admin.Plugin
	b.eventually("generation "+strconv.Itoa(generation)+" serves alone", func() bool {
		plugin = b.plugin()
		return plugin.Generation == generation && plugin.State == string(supervisor.StateReady) && len(plugin.Retiring) == 0
	})
}

func testWatch(t *testing.T, key string) {
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		command := program(t)
		b := startConfigured(t, conf{"plugin.command": strconv.Quote(command)})
		replace(t, command, another(t, "2"))
		b.reload()
		b.serves(2)
		require.NotContains(t, b.logs.String(), "the program of a plugin has changed")
	})
	t.Run("on", func(t *testing.T) {
		t.Parallel()
		command := program(t)
		b := startConfigured(t, conf{key: "true", "plugin.command": strconv.Quote(command)})
		replace(t, command, another(t, "2"))
		b.serves(2)
		replace(t, command, another(t, "2")) // the same content
		replace(t, command, another(t, "3"))
		b.serves(3)

		// As a build from scratch does.
		require.NoError(t, os.RemoveAll(filepath.Dir(command)))
		require.NoError(t, os.Mkdir(filepath.Dir(command), 0o755))
		replace(t, command, another(t, "4"))
		b.serves(4)

		// An operator was faster.
		replace(t, command, another(t, "5"))
		b.reload()
		replace(t, command, another(t, "6"))
		b.serves(6)
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/exe", b.plugin().Instances[0].PID))
		require.NoError(t, err)
		require.Equal(t, "6", string(data[len(data)-1:]), "what the operator has loaded is not swapped again")
	})
}

// TestWatchedScriptIsWrittenInPlace: it is swapped once it can be executed.
func TestWatchedScriptIsWrittenInPlace(t *testing.T) {
	t.Parallel()
	original, err := testPlugin()
	require.NoError(t, err)
	command := filepath.Join(t.TempDir(), "script")
	write := func(comment string) {
		require.NoError(t, os.WriteFile(command, []byte("#!/bin/sh\n# "+comment+"\nexec "+original+"\n"), 0o755))
	}
	write("one")
	b := startConfigured(t, conf{"plugin.watch": "true", "plugin.command": strconv.Quote(command)})
	require.NoError(t, os.Chmod(command, 0o600))
	write("two")
	require.NoError(t, os.Chmod(command, 0o755))
	b.serves(2)
}

func TestWatchedProgramThatIsNotThePinnedOneIsRefused(t *testing.T) {
	t.Parallel()
	for _, swap := range []supervisor.Swap{supervisor.SwapOverlap, supervisor.SwapStopFirst} {
		t.Run(string(swap), func(t *testing.T) {
			t.Parallel()
			command := program(t)
			sum, err := filewatch.Sum(command)
			require.NoError(t, err)
			b := startConfigured(t, conf{
				"plugin.watch": "true", "plugin.sha256": strconv.Quote(sum), "plugin.swap": strconv.Quote(string(swap)),
				"plugin.command": strconv.Quote(command),
			})
			pid := b.plugin().Instances[0].PID
			replace(t, command, another(t, "2"))
			b.eventually("it is refused", func() bool {
				return strings.Contains(b.logs.String(), "but "+sum+" is pinned")
			})
			b.send("a_queue", `{"about": true}`)
			require.Equal(t, pid, b.reports(1)[0].PID)
			require.Equal(t, 1, b.plugin().Generation)
		})
	}
}
