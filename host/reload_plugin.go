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
	spec, ok := c.pluginSpecOf(name)
	if !ok {
		return admin.Swap{}, c.noPlugin(name)
	}
	swapped, err := c.fleet.Swap(ctx, spec)
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

// pluginSpecOf is what the configuration in force says about a plugin.
func (h *Host) pluginSpecOf(name string) (fleet.Spec, bool) {
	for _, p := range h.cfg().Plugins {
		if p.Name == name {
			return fleetSpec(h.cfg(), p, h.log), true
		}
	}
	return fleet.Spec{}, false
}
