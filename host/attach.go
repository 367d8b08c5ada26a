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
