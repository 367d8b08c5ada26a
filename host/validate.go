package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"golang.org/x/sync/errgroup"

	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/supervisor"
)

// checkTimeout is for one start: more than the supervisor's own deadlines for
// its parts add up to.
const checkTimeout = 2 * time.Minute

// CheckPlugins starts one process of every plugin as a host does, configures
// it, and stops it again; no database is needed. The diagnostics are what is
// wrong with all of them, and what they warn about, placed in the files of
// opts.Config. The error is about the check itself: ctx has ended, or opts are
// incomplete. When it returns, no plugin process is left.
func CheckPlugins(ctx context.Context, opts Options) (hcl.Diagnostics, error) {
	plugins := opts.Config.Plugins
	found := make([]hcl.Diagnostics, len(plugins))
	var group errgroup.Group
	for n, p := range plugins {
		group.Go(func() (err error) {
			found[n], err = checkPlugin(ctx, opts, p)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var diags hcl.Diagnostics
	for _, d := range found {
		diags = append(diags, d...)
	}
	return diags, nil
}

func checkPlugin(ctx context.Context, opts Options, p config.Plugin) (hcl.Diagnostics, error) {
	binder := &configBinder{plugin: p, files: opts.Config.Files}
	spec := pluginSpec(opts.Config, p, binder)
	spec.Instances = 1
	// The first failure trips the plugin, so that it is started once only.
	spec.Restart.MaxCrashes = 1
	plugin, err := supervisor.Start(spec, supervisor.Deps{
		Logger: opts.Logger, Shim: opts.ShimCommand, HostVersion: opts.Version,
	})
	if err != nil {
		return nil, fmt.Errorf("plugin %q: %w", p.Name, err)
	}
	waiting, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	failed := plugin.WaitReady(waiting)

	// An interrupted check still lets the plugin end by itself, for as long as
	// the spec's stop timeout.
	if err := plugin.Stop(context.WithoutCancel(ctx)); err != nil {
		return nil, fmt.Errorf("stop plugin %q: %w", p.Name, err)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("check plugin %q: %w", p.Name, ctx.Err())
	}
	diags := binder.diagnostics()
	if failed != nil && !diags.HasErrors() {
		diags = append(diags, notStarted(p, failed))
	}
	return diags, nil
}

// notStarted points at the program, which is to blame and not its
// configuration.
func notStarted(p config.Plugin, err error) *hcl.Diagnostic {
	diag := &hcl.Diagnostic{
		Severity: hcl.DiagError,
		Summary:  fmt.Sprintf("Plugin %q does not start", p.Name),
		Detail:   fmt.Sprintf("Starting it failed: %v", err),
		Subject:  &p.CommandRange,
	}
	var start *supervisor.StartError
	if !errors.As(err, &start) {
		return diag
	}
	diag.Detail = "Starting it failed: " + start.Err.Error()
	if start.Exit != nil {
		diag.Detail += fmt.Sprintf(" (%v)", *start.Exit)
	}
	if len(start.Stderr) > 0 {
		const indent = "\n    "
		diag.Detail += "; its last lines on stderr:" + indent + strings.Join(start.Stderr, indent)
	}
	return diag
}
