package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/stephost/stephost/host/admin"
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
	spec, ok := c.pluginSpecOf(name)
	if !ok {
		return fleet.Swapped{}, c.noPlugin(name)
	}
	return c.fleet.Swap(ctx, spec)
}

// pluginSpecOf is what the configuration in force says about a plugin.
func (h *Host) pluginSpecOf(name string) (fleet.Spec, bool) {
	for _, p := range h.cfg().Plugins {
		if p.Name == name {
			return h.held(fleetSpec(h.cfg(), p, h.log)), true
		}
	}
	return fleet.Spec{}, false
}
