package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/fleet"
	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/supervisor"
)

// reloads runs one reload after the other until the host drains.
type reloads struct {
	load    Load
	counter *prometheus.CounterVec
	turn    chan struct{} // one place

	life   context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	ended bool
	all   sync.WaitGroup
}

func newReloads(load Load) *reloads {
	life, cancel := context.WithCancel(context.Background())
	return &reloads{
		load: load, turn: make(chan struct{}, 1), life: life, cancel: cancel,
		counter: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stephost_reloads_total", Help: "Reloads of the configuration by result: applied, refused.",
		}, []string{"result"}),
	}
}

// begin runs a reload, unless the host drains.
func (r *reloads) begin(reload func(ctx context.Context)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	r.all.Go(func() {
		select {
		case r.turn <- struct{}{}:
			defer func() { <-r.turn }()
		case <-r.life.Done():
		}
		reload(r.life)
	})
	return true
}

// end abandons the reload that is under way, which each of its steps allows, and
// joins it.
func (r *reloads) end() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.cancel()
	r.all.Wait()
}

// Reload implements admin.Controller.
func (c controller) Reload(ctx context.Context) (admin.Reload, error) {
	if c.reloads.load == nil {
		return admin.Reload{}, fmt.Errorf("%w: this host was not started from a file", admin.ErrConflict)
	}
	type outcome struct {
		report admin.Reload
		err    error
	}
	done := make(chan outcome, 1)
	began := c.reloads.begin(func(ctx context.Context) {
		report, err := c.reload(ctx)
		c.noteReload(report, err)
		done <- outcome{report, err}
	})
	if !began {
		return admin.Reload{}, errReloadDraining
	}
	select {
	case o := <-done:
		return o.report, o.err
	case <-ctx.Done():
		return admin.Reload{}, fmt.Errorf("the reload goes on, and the log will tell how it ends: %w", context.Cause(ctx))
	}
}

var errReloadDraining = fmt.Errorf("%w: the host is draining", admin.ErrConflict)

// reload does one reload. ctx is the host's life.
func (h *Host) reload(ctx context.Context) (report admin.Reload, err error) {
	began := time.Now()
	select {
	case <-h.started:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return report, errReloadDraining
	}
	read, diags := h.reloads.load()
	if diags.HasErrors() {
		return report, invalid("the configuration is not valid", diags, read.Files)
	}
	running := h.cfg()
	diff := config.Compare(running, read)
	next := config.Merge(running, read)
	if !diff.Empty() {
		if err := h.apply(ctx, diff, next); err != nil {
			return report, err
		}
	}
	report = reportOf(diff)
	for _, d := range diags {
		report.Warnings = append(report.Warnings, d.Error())
	}
	report.Warnings = append(report.Warnings, h.missingQueues(ctx, next)...)
	if warning := h.takeMode(ctx, running, next); warning != "" {
		report.Warnings = append(report.Warnings, warning)
	}
	report.Took = admin.Seconds(time.Since(began))
	return report, nil
}

// apply puts the next configuration into force: everything that can fail comes
// first. Plugins that are new or changed come up beside the old ones; then lanes
// and bindings change together; then the sources of work look after the new
// queues.
func (h *Host) apply(ctx context.Context, diff config.Diff, next *config.Config) error {
	change, binders := h.pluginChange(diff, next)
	prepared, err := h.prepare(ctx, change)
	if err != nil {
		return notPrepared(err, binders, next)
	}
	level := h.cfg().Host.LogLevel
	_, err = h.processor.Apply(ctx, processor.Plan{
		Namespaces:   laneNamespaces(next.Namespaces),
		Limits:       limits(next),
		DrainTimeout: next.Host.Shutdown.DrainTimeout,
		Rebind: func() error {
			if err := prepared.Flip(h.bindTo(next.Namespaces)); err != nil {
				return err
			}
			h.current.Store(newInForce(next))
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("nothing has changed: %w", errors.Join(err, prepared.Abort()))
	}
	h.worker.SetQueues(queueNames(next.Namespaces))
	h.worker.Allow(next.EventSystem.Listener.Enabled, next.EventSystem.FallbackPoller.Enabled)
	for _, p := range next.Plugins {
		h.fleet.SetDrain(p.Name, drainLimit(next, p))
	}
	if next.Host.LogLevel != level {
		h.log.SetLevel(hclog.LevelFromString(next.Host.LogLevel))
		h.pluginLevel.Set(next.Host.LogLevel)
	}
	return nil
}

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

// modeKey is the path of the mode in a configuration.
const modeKey = "event_system.deployment_mode"

// takeMode switches to the mode of the configuration, unless an operator has
// chosen another. What it could not do is found again by the next reload. The
// warning says why the mode is not that of the file.
func (h *Host) takeMode(ctx context.Context, running, next *config.Config) (warning string) {
	h.modeMu.Lock()
	defer h.modeMu.Unlock()
	wanted, has := next.EventSystem.DeploymentMode, h.worker.Mode()
	if h.modeOverride.Load() {
		h.modeOverride.Store(wanted != has)
		if wanted != has && wanted != running.EventSystem.DeploymentMode {
			warning = fmt.Sprintf("%s is %v in the file; the operator's choice %v stays in force, until `stephost mode set %v`", modeKey, wanted, has, wanted)
		}
		return warning
	}
	if wanted == has {
		return ""
	}
	if err := h.worker.SetMode(ctx, wanted); err != nil {
		warning = fmt.Sprintf("%s: %v", modeKey, err)
	}
	if has = h.worker.Mode(); has != wanted {
		stays := *next
		stays.EventSystem.DeploymentMode = has
		h.current.Store(newInForce(&stays))
	}
	return warning
}
