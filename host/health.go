package host

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/supervisor"
)

// loopGrace is how much later than promised a loop may come round before it
// counts as stuck.
const loopGrace = 15 * time.Second

// laneLimit is how long a lane may take to come round: longer than the
// deadlines of all that it waits for.
const laneLimit = 45 * time.Second

func healthy(name string) eventsystem.ComponentHealth {
	return eventsystem.ComponentHealth{Name: name, Status: eventsystem.Healthy}
}

func unwell(name string, status eventsystem.HealthStatus, reason string) eventsystem.ComponentHealth {
	return eventsystem.ComponentHealth{Name: name, Status: status, Reason: reason}
}

func (h *Host) probeDatabase(ctx context.Context) eventsystem.ComponentHealth {
	if err := h.broker.Ping(ctx); err != nil {
		return unwell("database", eventsystem.Critical, err.Error())
	}
	return healthy("database")
}

// probePlugins is Critical when no plugin is ready, Warning when some are not,
// and Degraded when some have fewer processes than they should.
func (h *Host) probePlugins(context.Context) eventsystem.ComponentHealth {
	var down, fewer []string
	for _, p := range h.fleet.Current() {
		status := p.Plugin.Status()
		text := fmt.Sprintf("%s is %s: %s", status.Name, status.State, status.Reason)
		switch {
		case status.State != supervisor.StateReady:
			down = append(down, text)
		case status.Ready() < status.Pool:
			fewer = append(fewer, text)
		}
	}
	switch {
	case len(down)+len(fewer) == 0:
		return healthy("plugins")
	case len(down) == 0:
		return unwell("plugins", eventsystem.Degraded, strings.Join(fewer, "; "))
	case len(down) == len(h.cfg().Plugins):
		return unwell("plugins", eventsystem.Critical, strings.Join(down, "; "))
	default:
		return unwell("plugins", eventsystem.Warning, strings.Join(down, "; "))
	}
}

func (h *Host) probeProcessor(ctx context.Context) eventsystem.ComponentHealth {
	if err := h.processor.Live(laneLimit); err != nil {
		return unwell("processor", eventsystem.Critical, err.Error())
	}
	status, err := processor.Do(ctx, h.processor, processor.GetStatus{})
	if err != nil {
		return unwell("processor", eventsystem.Warning, err.Error())
	}
	var blocked []string
	for _, ns := range status.Namespaces {
		// A plugin that is not ready is the plugins' component.
		if ns.Blocked != "" && !strings.HasPrefix(ns.Blocked, "plugin ") {
			blocked = append(blocked, ns.Namespace.Name+": "+ns.Blocked)
		}
		for _, fault := range ns.Faults {
			blocked = append(blocked, ns.Namespace.Name+": "+fault)
		}
	}
	if len(blocked) > 0 {
		return unwell("processor", eventsystem.Degraded, strings.Join(blocked, "; "))
	}
	return healthy("processor")
}

// live returns a line for each loop that does not progress.
func (h *Host) live() []string {
	var stuck []string
	if err := h.processor.Live(laneLimit); err != nil {
		stuck = append(stuck, err.Error())
	}
	if err := h.worker.Live(loopGrace); err != nil {
		stuck = append(stuck, err.Error())
	}
	return stuck
}

// unready returns a line for each reason why the host cannot work steps.
func (h *Host) unready(ctx context.Context) []string {
	var reasons []string
	if h.draining.Load() {
		reasons = append(reasons, "the host is draining")
	}
	if err := h.broker.Ping(ctx); err != nil {
		reasons = append(reasons, fmt.Sprintf("database: %v", err))
	}
	// In Hybrid the poller finds everything, if later; the event system's health
	// says that it has to.
	if stats := h.worker.Statistics(); !h.worker.Mode().HasPolling() && !stats.Listener.Connected {
		reasons = append(reasons, "listener: not connected: "+stats.Listener.LastError)
	}
	if !h.anyPluginReady() {
		reasons = append(reasons, "plugins: none is ready: "+h.probePlugins(ctx).Reason)
	}
	return reasons
}

func (h *Host) anyPluginReady() bool {
	for _, p := range h.fleet.Current() {
		if p.Plugin.Status().State == supervisor.StateReady {
			return true
		}
	}
	return false
}
