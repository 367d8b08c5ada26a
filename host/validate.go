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
	checked, err := TryPlugins(ctx, opts)
	if err != nil {
		return nil, err
	}
	var diags hcl.Diagnostics
	for _, p := range checked {
		diags = append(diags, p.Diagnostics...)
	}
	return diags, nil
}

// TriedPlugin is what one start of a plugin showed.
type TriedPlugin struct {
	Name        string
	Diagnostics hcl.Diagnostics
	// Version, Steps and Default are what the plugin says about itself; empty
	// when it did not start. Default is the step for messages that name none.
	Version string
	Steps   []string
	Default string
}

// TryPlugins is CheckPlugins for each plugin apart, in the order of the
// configuration.
func TryPlugins(ctx context.Context, opts Options) ([]TriedPlugin, error) {
	plugins := opts.Config.Plugins
	tried := make([]TriedPlugin, len(plugins))
	var group errgroup.Group
	for n, p := range plugins {
		group.Go(func() (err error) {
			tried[n], err = tryPlugin(ctx, opts, p)
			return err
		})
	}
	return tried, group.Wait()
}

func tryPlugin(ctx context.Context, opts Options, p config.Plugin) (TriedPlugin, error) {
	tried := TriedPlugin{Name: p.Name}
	binder := &configBinder{plugin: p, files: opts.Config.Files}
	spec := pluginSpec(opts.Config, p, binder)
	spec.Instances = 1
	// The first failure trips the plugin, so that it is started once only.
	spec.Restart.MaxCrashes = 1
	plugin, err := supervisor.Start(spec, supervisor.Deps{
		Logger: opts.Logger, Shim: opts.ShimCommand, HostVersion: opts.Version,
	})
	if err != nil {
		return tried, fmt.Errorf("plugin %q: %w", p.Name, err)
	}
	waiting, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	failed := plugin.WaitReady(waiting)

	// An interrupted check still lets the plugin end by itself, for as long as
	// the spec's stop timeout.
	if err := plugin.Stop(context.WithoutCancel(ctx)); err != nil {
		return tried, fmt.Errorf("stop plugin %q: %w", p.Name, err)
	}
	if ctx.Err() != nil {
		return tried, fmt.Errorf("check plugin %q: %w", p.Name, ctx.Err())
	}
	tried.Diagnostics = binder.diagnostics()
	if failed != nil && !tried.Diagnostics.HasErrors() {
		tried.Diagnostics = append(tried.Diagnostics, notStarted(p, failed))
	}
	if described := plugin.Described(); described != nil {
		tried.Version = described.GetVersion()
		for _, step := range described.GetSteps() {
			tried.Steps = append(tried.Steps, step.GetName())
			if step.GetDefault() {
				tried.Default = step.GetName()
			}
		}
	}
	return tried, nil
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
