package host_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
)

// retiring are the processes of the plugin's older generations.
func (b *bundle) retiring() (pids []int) {
	for _, old := range b.plugin().Retiring {
		pids = append(pids, old.PIDs...)
	}
	return pids
}

// testSwapKey holds one step while the plugin is reloaded. By default the new
// process serves beside it; with stop_first the new one waits for its end.
func testSwapKey(t *testing.T, key string) {
	t.Run("overlap", func(t *testing.T) {
		t.Parallel()
		b := startConfigured(t, conf{})
		b.send("a_queue", b.waiting())
		b.eventually("it runs", func() bool { return len(b.runs("log")) == 1 })
		old := b.runs("log")[0]

		swap, err := b.ReloadPlugin(t.Context(), "test")
		require.NoError(t, err)
		require.Equal(t, []int{old}, swap.Old.PIDs)
		require.Equal(t, []int{old}, b.retiring())
		require.Equal(t, string(supervisor.StateReady), b.plugin().State)
		b.send("b_queue", `{"about": true}`)
		require.Equal(t, swap.New.PIDs, []int{b.reports(1)[0].PID})

		b.touch("go")
		b.results(2)
		b.eventually("the old one ends", func() bool { return len(b.plugin().Retiring) == 0 })
	})
	t.Run("stop_first", func(t *testing.T) {
		t.Parallel()
		b := startConfigured(t, conf{key: `"stop_first"`})
		b.send("a_queue", b.waiting())
		b.eventually("it runs", func() bool { return len(b.runs("log")) == 1 })

		done := make(chan error, 1)
		go func() {
			_, err := b.ReloadPlugin(t.Context(), "test")
			done <- err
		}()
		b.inState(supervisor.StateDraining)
		require.Equal(t, 1, b.plugin().Generation, "the new one is not started before the old one has ended")
		b.send("b_queue", `{"about": true}`)
		b.touch("go")
		require.NoError(t, <-done)
		require.Equal(t, 2, b.plugin().Generation)
		b.results(2)
	})
}
