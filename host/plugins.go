package host

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"golang.org/x/sync/errgroup"

	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/fleet"
	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/registry"
	"github.com/stephost/stephost/host/supervisor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

func (h *Host) buildFleet() {
	h.pluginLevel = supervisor.NewLogLevel(h.cfg().Host.LogLevel)
	h.fleet = fleet.New(fleet.Options{
		Deps: supervisor.Deps{Logger: h.log.Named("plugin"), Shim: h.shim, HostVersion: h.version, LogLevel: h.pluginLevel},
		Bind: h.bindTo(h.cfg().Namespaces),
		Recall: func(exec processor.Executor) {
			_, _ = processor.Do(context.Background(), h.processor, processor.Recall{Executor: exec})
		},
	})
}

// bindTo points namespaces at the current generations of their plugins.
func (h *Host) bindTo(namespaces []config.Namespace) fleet.Bind {
	return func(current map[string]processor.Executor) error {
		bindings := make([]registry.Binding, 0, len(namespaces))
		for _, ns := range namespaces {
			bindings = append(bindings, registry.Binding{
				Namespace: ns.Name, Plugin: ns.Plugin, Executor: current[ns.Plugin],
			})
		}
		if err := h.registry.Refresh(bindings); err != nil {
			return err
		}
		// A lane may be waiting for a generation that is no more.
		_, err := processor.Do(context.Background(), h.processor, processor.RefreshRegistry{})
		return err
	}
}

// startPlugins starts all processes in the background and binds the
// namespaces to them.
func (h *Host) startPlugins() error {
	specs := make([]fleet.Spec, 0, len(h.cfg().Plugins))
	for _, p := range h.cfg().Plugins {
		specs = append(specs, h.held(fleetSpec(h.cfg(), p, h.log)))
	}
	return h.fleet.Start(specs)
}

// held keeps a plugin from being started that is not to be.
func (h *Host) held(spec fleet.Spec) fleet.Spec {
	if h.hold != nil {
		spec.Hold = h.hold(spec.Name)
	}
	return spec
}

// longestDrain is how long an old version may work on steps that have no
// timeout.
const longestDrain = 24 * time.Hour

// fleetSpec is what a plugin's generations are started from.
func fleetSpec(cfg *config.Config, p config.Plugin, log hclog.Logger) fleet.Spec {
	return boundSpec(cfg, &configBinder{plugin: p, files: cfg.Files, log: log})
}

// boundSpec is a fleetSpec whose binder the caller keeps.
func boundSpec(cfg *config.Config, binder *configBinder) fleet.Spec {
	return fleet.Spec{Spec: pluginSpec(cfg, binder.plugin, binder), Drain: drainLimit(cfg, binder.plugin)}
}

// drainLimit is how long a generation of the plugin may finish its steps.
func drainLimit(cfg *config.Config, p config.Plugin) time.Duration {
	if supervisor.Swap(p.Swap) == supervisor.SwapStopFirst {
		// Its namespaces wait meanwhile.
		return cfg.Host.Shutdown.DrainTimeout
	}
	limit := max(2*cfg.Host.Shutdown.KillTimeout, time.Second)
	for _, ns := range cfg.Namespaces {
		switch {
		case ns.Plugin != p.Name:
		case ns.Timeout == 0:
			limit = max(limit, longestDrain)
		default:
			// A handler that ignores its timeout is given up a little later.
			limit = max(limit, ns.Timeout+2*cfg.Host.Shutdown.KillTimeout)
		}
	}
	return limit
}

func pluginSpec(cfg *config.Config, p config.Plugin, binder *configBinder) supervisor.Spec {
	env := make(map[string]string, len(p.Env))
	for name, value := range p.Env {
		env[name] = value.Reveal()
	}
	return supervisor.Spec{
		Name: p.Name, Command: p.Command, Args: p.Args, Env: env,
		EnvFrom: p.EnvFrom, Dir: p.CWD, User: p.User, Group: p.Group,
		SHA256: p.SHA256, Instances: p.Instances, DisableTLS: p.TLS == "off",
		Swap: supervisor.Swap(p.Swap),
		Restart: supervisor.Restart{
			BackoffInitial: p.Restart.BackoffInitial, BackoffMax: p.Restart.BackoffMax,
			MaxCrashes: p.Restart.MaxCrashes, Window: p.Restart.Window,
		},
		Timeouts: supervisor.Timeouts{
			Stop: cfg.Host.Shutdown.KillTimeout,
			// Zero would mean the default.
			Retire: max(cfg.Host.Shutdown.DrainTimeout, 1),
		},
		Limits: supervisor.Limits{
			CPUs: p.Limits.CPUs, Memory: p.Limits.Memory, OpenFiles: p.Limits.OpenFiles,
			Processes: p.Limits.Processes, FileSize: p.Limits.FileSize, Core: p.Limits.Core,
			Cgroup: supervisor.CgroupMode(p.Limits.Cgroup),
		},
		LogLevel:  cfg.Host.LogLevel,
		Configure: binder.configure,
		Diagnose:  binder.diagnose,
	}
}

// firstStart is how long the host waits for its plugins before it looks for
// work. It only keeps a usual start from being reported as trouble: a plugin that
// takes longer, or never comes up, keeps its own namespaces waiting.
const firstStart = 3 * time.Second

func (h *Host) awaitPlugins(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstStart)
	defer cancel()
	var group errgroup.Group
	for _, p := range h.fleet.Current() {
		group.Go(func() error {
			_ = p.Plugin.WaitReady(ctx) // the supervisor reports what is wrong
			return nil
		})
	}
	_ = group.Wait()
}

// stopPlugins ends all processes at once. Nothing is in flight any more.
func (h *Host) stopPlugins() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*h.stopGrace())
	defer cancel()
	return h.fleet.Stop(ctx)
}

// configBinder decodes a plugin's config block against the schema that the
// plugin describes, and points its complaints at the user's file.
type configBinder struct {
	plugin config.Plugin
	files  map[string]*hcl.File
	// log takes warnings. Nil: whoever made the binder looks at diagnostics.
	log hclog.Logger

	mu     sync.Mutex
	schema *pluginv1.ConfigBlock
	// found is what the latest start brought up, warnings too.
	found hcl.Diagnostics
	// warned is what was logged last: each instance brings it up at each start.
	warned string
}

// configure is called at each start, with what the new process describes.
func (b *configBinder) configure(_ context.Context, described *pluginv1.DescribeResponse) ([]byte, error) {
	value, diags := config.DecodePlugin(b.plugin, described.GetConfig())
	b.mu.Lock()
	b.schema, b.found = described.GetConfig(), diags
	b.mu.Unlock()
	return value, b.failure(diags)
}

func (b *configBinder) diagnose(complaints []*pluginv1.Diagnostic) error {
	b.mu.Lock()
	diags := config.LocatePluginDiagnostics(b.plugin, b.schema, complaints)
	b.found = append(b.found, diags...)
	b.mu.Unlock()
	return b.failure(diags)
}

// diagnostics are those of the latest start.
func (b *configBinder) diagnostics() hcl.Diagnostics {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.found)
}

// failure renders errors with their source lines; warnings alone are logged.
func (b *configBinder) failure(diags hcl.Diagnostics) error {
	if len(diags) == 0 {
		return nil
	}
	var printed strings.Builder
	if err := config.Print(&printed, diags, b.files); err != nil {
		return diags
	}
	text := strings.TrimSpace(printed.String())
	if diags.HasErrors() {
		return errors.New(text)
	}
	b.warn(text)
	return nil
}

func (b *configBinder) warn(text string) {
	b.mu.Lock()
	news := text != b.warned
	b.warned = text
	b.mu.Unlock()
	if news && b.log != nil {
		b.log.Warn("the plugin's configuration has warnings", "plugin", b.plugin.Name, "diagnostics", text)
	}
}
