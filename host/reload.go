package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/processor"
)

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
	h.janitor.Set(rules(next.Namespaces))
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
