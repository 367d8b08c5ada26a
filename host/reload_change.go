package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/fleet"
	"github.com/stephost/stephost/host/supervisor"
)

// busyPoll is how often a reload looks whether a plugin that is being swapped is
// free again. A swap is bounded by its own deadlines.
const busyPoll = 50 * time.Millisecond

// prepare waits for swaps that are under way.
func (h *Host) prepare(ctx context.Context, change fleet.Change) (*fleet.Prepared, error) {
	for {
		prepared, err := h.fleet.Prepare(ctx, change)
		var busy *fleet.BusyError
		if !errors.As(err, &busy) {
			return prepared, err
		}
		select {
		case <-time.After(busyPoll):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// pluginChange is what the fleet has to do, and the binders of what it starts.
func (h *Host) pluginChange(diff config.Diff, next *config.Config) (fleet.Change, map[string]*configBinder) {
	starts := make(map[string]bool)
	for _, name := range diff.Plugins.Added {
		starts[name] = true
	}
	for _, member := range diff.Plugins.Changed {
		starts[member.Name] = !member.Live()
	}
	change := fleet.Change{Remove: diff.Plugins.Removed}
	binders := make(map[string]*configBinder, len(starts))
	for _, p := range next.Plugins {
		if starts[p.Name] {
			binder := &configBinder{plugin: p, files: next.Files, log: h.log}
			binders[p.Name] = binder
			change.Start = append(change.Start, h.held(boundSpec(next, binder)))
		}
	}
	return change, binders
}

// notPrepared says why a plugin did not come up, as far as that is known with
// the lines of the file.
func notPrepared(err error, binders map[string]*configBinder, next *config.Config) error {
	var (
		busy   *fleet.BusyError
		failed *fleet.ChangeError
		start  *supervisor.StartError
	)
	if errors.As(err, &busy) || errors.Is(err, fleet.ErrStopped) {
		return fmt.Errorf("%w: %w", admin.ErrConflict, err)
	}
	if !errors.As(err, &failed) || !errors.As(failed.Err, &start) || binders[start.Plugin] == nil {
		return fmt.Errorf("nothing has changed: %w", err)
	}
	binder := binders[start.Plugin]
	diags := binder.diagnostics()
	if !diags.HasErrors() {
		diags = append(diags, notStarted(binder.plugin, failed.Err))
	}
	reason := fmt.Sprintf("plugin %q does not come up", start.Plugin)
	switch {
	case failed.Restart != nil:
		reason += fmt.Sprintf("; its old version was started again and does not either (%v)", failed.Restart)
	case len(failed.Restarted) > 0:
		reason += "; the old version of " + strings.Join(failed.Restarted, ", ") + " was started again"
	}
	return invalid(reason, diags, next.Files)
}

// invalid is a configuration that is not taken over.
func invalid(reason string, diags hcl.Diagnostics, files map[string]*hcl.File) error {
	var text strings.Builder
	if err := config.Print(&text, diags, files); err != nil {
		return fmt.Errorf("print diagnostics: %w", err)
	}
	return &admin.InvalidConfigError{Reason: reason + ": nothing has changed", Diagnostics: text.String()}
}
