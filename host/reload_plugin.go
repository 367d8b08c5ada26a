package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/fleet"
)

// ReloadPlugin implements admin.Controller.
func (c controller) ReloadPlugin(ctx context.Context, name string) (admin.Swap, error) {
	sum := c.programs.sum(name)
	swapped, err := c.swapPlugin(ctx, name)
	if err == nil {
		c.programs.runs(name, sum)
	}
	return toldSwap(swapped, err)
}

// toldSwap tells the admin endpoint how a swap went.
func toldSwap(swapped fleet.Swapped, err error) (admin.Swap, error) {
	var busy *fleet.BusyError
	if errors.As(err, &busy) || errors.Is(err, fleet.ErrStopped) {
		return admin.Swap{}, fmt.Errorf("%w: %w", admin.ErrConflict, err)
	}
	if err != nil {
		return admin.Swap{}, err
	}
	return admin.Swap{
		Plugin: swapped.Plugin, Took: admin.Seconds(swapped.Took),
		Old: admin.PluginVersion(swapped.Old), New: admin.PluginVersion(swapped.New),
	}, nil
}

func (c controller) swapPlugin(ctx context.Context, name string) (fleet.Swapped, error) {
	for {
		current := c.current.Load()
		spec, ok := c.pluginSpecOf(current.cfg, name)
		if !ok {
			return fleet.Swapped{}, c.noPlugin(name)
		}
		swapped, err := c.fleet.Swap(ctx, spec)
		if err != nil || c.current.Load() == current {
			return swapped, err
		}
		// A reload may have come between the reading and the swap, which then has
		// taken the plugin back to what it was before.
	}
}

// pluginSpecOf is what a configuration says about a plugin.
func (h *Host) pluginSpecOf(cfg *config.Config, name string) (fleet.Spec, bool) {
	for _, p := range cfg.Plugins {
		if p.Name == name {
			return h.held(fleetSpec(cfg, p, h.log)), true
		}
	}
	return fleet.Spec{}, false
}
