package fault

import (
	"context"
	"fmt"
	"syscall"

	"github.com/stephost/stephost/chaos/internal/world"
)

// plugins are the faults of plugin processes from outside.
func plugins() []Fault {
	return []Fault{{
		Name:   "kill-plugin",
		About:  "kill -9 of the plugin's processes, one after the other, under load",
		Inject: killPlugin,
		Cost:   Cost{Again: Must},
	}}
}

func killPlugin(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	pids, err := host.PluginPIDs(ctx)
	if err != nil {
		return "", err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return "", fmt.Errorf("kill plugin process %d: %w", pid, err)
		}
		w.Over()
		if err := world.Sleep(ctx, w.Hold/4); err != nil {
			return "", err
		}
	}
	var evidence string
	err = w.Until(ctx, "the host has counted the crashes and all instances are back", func() (bool, error) {
		plugin, err := host.Plugin(ctx)
		evidence = fmt.Sprintf("%d crashes", plugin.Crashes)
		return plugin.Crashes >= uint64(len(pids)) && plugin.Ready == w.Instances, err
	})
	return evidence, err
}
