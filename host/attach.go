package host

import (
	"context"
	"fmt"

	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/plugin/protocol"
)

// AttachPlugin implements admin.Controller.
func (c controller) AttachPlugin(ctx context.Context, name string, to protocol.Attachment) (admin.Swap, error) {
	if !c.allowAttach {
		return admin.Swap{}, fmt.Errorf("attach to plugin %q: %w: only `stephost dev` takes plugins from a debugger", name, admin.ErrForbidden)
	}
	if _, ok := c.fleet.Lookup(name); !ok {
		return admin.Swap{}, c.noPlugin(name)
	}
	return toldSwap(c.fleet.Attach(ctx, name, to))
}

// ProgramChanged swaps a plugin for the new version of its program. An attached
// process keeps its place, since somebody is looking at it: the new version
// follows it, and is not swapped now.
func (h *Host) ProgramChanged(ctx context.Context, name string) (swapped bool, err error) {
	if spec, ok := h.pluginSpecOf(h.cfg(), name); ok && h.fleet.Follow(spec) {
		h.log.Info("the program of a plugin has changed and follows the attached process", "plugin", name)
		return false, nil
	}
	_, err = h.ReloadPlugin(ctx, name)
	return err == nil, err
}
