package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/fleet"
	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/queues"
)

// controller is the host as the admin endpoint sees it.
type controller struct{ *Host }

var _ admin.Controller = controller{}

// Live implements admin.Controller.
func (c controller) Live(context.Context) []string { return c.live() }

// Ready implements admin.Controller.
func (c controller) Ready(ctx context.Context) []string { return c.unready(ctx) }

// SetMode implements admin.Controller. The new mode is an operator's override:
// it is shown as one.
func (c controller) SetMode(ctx context.Context, mode eventsystem.Mode) error {
	c.modeMu.Lock()
	defer c.modeMu.Unlock()
	err := c.worker.SetMode(ctx, mode)
	var illegal *eventsystem.InvalidTransitionError
	if errors.As(err, &illegal) {
		return fmt.Errorf("%w: %w", admin.ErrConflict, err)
	}
	if err == nil {
		c.modeOverride.Store(mode != c.cfg().EventSystem.DeploymentMode)
	}
	return err
}

// SetPaused implements admin.Controller.
func (c controller) SetPaused(ctx context.Context, namespace string, paused bool) error {
	var err error
	if paused {
		_, err = processor.Do(ctx, c.processor, processor.Pause{Namespace: namespace})
	} else {
		_, err = processor.Do(ctx, c.processor, processor.Resume{Namespace: namespace})
	}
	if errors.Is(err, processor.ErrUnknownNamespace) {
		return fmt.Errorf("namespace %q: %w: this host has %s", namespace, admin.ErrNotFound, strings.Join(c.namespaces(), ", "))
	}
	return err
}

// namespaces are those of the configuration, in its order.
func (c controller) namespaces() []string {
	var known []string
	for _, ns := range c.cfg().Namespaces {
		known = append(known, ns.Name)
	}
	return known
}

// ResetPlugin implements admin.Controller.
func (c controller) ResetPlugin(_ context.Context, name string) error {
	p, ok := c.fleet.Lookup(name)
	if !ok {
		return c.noPlugin(name)
	}
	if err := p.Plugin.Reset(); err != nil {
		return fmt.Errorf("%w: %w", admin.ErrConflict, err)
	}
	return nil
}

func (c controller) noPlugin(name string) error {
	var known []string
	for _, p := range c.fleet.Current() {
		known = append(known, p.Name)
	}
	return fmt.Errorf("plugin %q: %w: this host has %s", name, admin.ErrNotFound, strings.Join(known, ", "))
}

// Status implements admin.Controller.
func (c controller) Status(ctx context.Context) admin.Status {
	stats := c.worker.Statistics()
	health := c.worker.Health(ctx)
	lanes, err := processor.Do(ctx, c.processor, processor.GetStatus{})
	if err != nil {
		c.log.Error("status of the processor", "error", err)
	}
	return admin.Status{
		Host: admin.Host{
			ID: c.cfg().Host.ID, Version: c.version, PID: os.Getpid(),
			StartedAt: c.startedAt, Uptime: admin.Seconds(time.Since(c.startedAt)),
			Draining: c.draining.Load(),
		},
		Mode:         c.worker.Mode(),
		ModeOverride: c.modeOverride.Load(),
		Health:       healthStatus(health),
		Namespaces:   c.namespaceStatus(lanes),
		Plugins:      c.pluginStatus(),
		Events:       eventStatus(c.worker.ID(), stats),
		Listener:     listenerStatus(stats.Listener),
		Poller:       pollerStatus(stats.Poller),
		Retention:    retentionStatus(c.janitor.Status()),
		Buffers: []admin.Buffer{
			{Name: "slots", Used: int64(lanes.SlotsUsed), Limit: int64(lanes.SlotsTotal), Unit: "items"},
			{Name: "bytes", Used: lanes.BytesHeld, Limit: lanes.BytesLimit, Unit: "bytes"},
			{
				Name: "events", Unit: "items", Limit: int64(c.cfg().EventSystem.Buffers.Events),
				Used: int64(stats.Listener.Pending + stats.Poller.Pending + stats.Sweep.Pending),
			},
		},
	}
}

func healthStatus(health eventsystem.Health) admin.Health {
	status := admin.Health{Status: health.Status.String(), Reasons: health.Reasons}
	for _, component := range health.Components {
		status.Components = append(status.Components, admin.Component{
			Name: component.Name, Status: component.Status.String(), Reason: component.Reason,
		})
	}
	return status
}

func (c controller) namespaceStatus(lanes processor.Status) []admin.Namespace {
	waits := make(map[string]time.Duration)
	for _, state := range c.worker.QueueStates() {
		waits[state.Queue] = state.OldestWait
	}
	list := make([]admin.Namespace, 0, len(lanes.Namespaces))
	for _, lane := range lanes.Namespaces {
		binding, _ := c.registry.Lookup(lane.Namespace.Name)
		counts := lane.Counts
		list = append(list, admin.Namespace{
			Name: lane.Namespace.Name, Plugin: binding.Plugin, Queue: lane.Namespace.Queue,
			Leaving: lane.Leaving, Paused: lane.Paused, Blocked: lane.Blocked, Faults: lane.Faults, Concurrency: lane.Namespace.Concurrency,
			InFlight: lane.Running, Prefetched: lane.Prefetched, Settling: lane.Settling, Suspects: lane.Suspects,
			Succeeded:    counts[processor.OutcomeSucceeded],
			Failed:       counts[processor.OutcomeRetried] + counts[processor.OutcomeDeadLettered],
			Retried:      counts[processor.OutcomeRetried],
			Snoozed:      counts[processor.OutcomeSnoozed],
			DeadLettered: counts[processor.OutcomeDeadLettered],
			Released:     counts[processor.OutcomeReleased],
			LeaseLost:    counts[processor.OutcomeLeaseLost],
			OldestWait:   admin.Seconds(waits[lane.Namespace.Queue]),
			LastError:    lane.LastError,
		})
	}
	return list
}

func (c controller) pluginStatus() []admin.Plugin {
	list := make([]admin.Plugin, 0, len(c.cfg().Plugins))
	at := make(map[string]int)
	for _, g := range c.fleet.Generations() {
		if !g.Retiring {
			at[g.Name] = len(list)
			list = append(list, pluginStatus(g))
			continue
		}
		n, current := at[g.Name]
		if !current { // it has been removed
			n = len(list)
			at[g.Name] = n
			list = append(list, admin.Plugin{Name: g.Name, State: string(supervisor.StateDraining), Reason: "removed from the configuration"})
		}
		list[n].Retiring = append(list[n].Retiring, retiringStatus(g))
	}
	return list
}

func retiringStatus(g fleet.Generation) admin.Retiring {
	s := g.Plugin.Status()
	retiring := admin.Retiring{
		Generation: g.Number, Version: s.Version, State: string(s.State), Reason: s.Reason, Since: s.Since,
	}
	for _, i := range s.Instances {
		if i.PID != 0 {
			retiring.PIDs = append(retiring.PIDs, i.PID)
		}
		retiring.InFlight += i.InFlight
	}
	return retiring
}

func pluginStatus(g fleet.Generation) admin.Plugin {
	p := g.Plugin
	s := p.Status()
	plugin := admin.Plugin{
		Generation: g.Number,
		Name:       s.Name, Version: s.Version,
		State: string(s.State), Reason: s.Reason, Since: s.Since,
		Ready: s.Ready(), NextAttempt: s.NextAttempt,
		Restarts: s.Restarts, Crashes: s.Crashes, FailedStarts: s.FailedStarts, Hangs: s.Hangs,
		TimeToReady: admin.Seconds(s.TimeToReady),
		Breaker: admin.Breaker{
			Crashes: s.Breaker.Crashes, MaxCrashes: s.Breaker.MaxCrashes,
			Window: admin.Seconds(s.Breaker.Window), Open: s.Breaker.Open,
		},
	}
	for _, step := range p.Described().GetSteps() {
		plugin.Steps = append(plugin.Steps, step.GetName())
	}
	for _, i := range s.Instances {
		plugin.Instances = append(plugin.Instances, admin.Instance{
			Index: i.Instance, Probation: i.Probation, PID: i.PID, State: string(i.State), Reason: i.Reason,
			InFlight: i.InFlight, Restarts: i.Restarts,
			NextAttempt: i.NextAttempt, LastError: i.LastError,
		})
	}
	for _, r := range s.Replaced {
		plugin.Replaced = append(plugin.Replaced, admin.Replaced{
			Index: r.Instance, PID: r.PID, InFlight: r.InFlight, Reason: r.Reason,
		})
	}
	return plugin
}

func eventStatus(id string, stats eventsystem.WorkerStatistics) admin.Events {
	return admin.Events{
		SystemID: id, Processed: stats.EventsProcessed, Failed: stats.EventsFailed,
		Rate: stats.Recent.Rate, Latency: admin.Seconds(stats.Recent.AverageLatency),
		Effectiveness: stats.ModeScore, ByType: stats.ByKind, LastEventAt: stats.LastEventAt,
	}
}

func listenerStatus(stats queues.ListenerStats) admin.Listener {
	return admin.Listener{
		Running: stats.Running, Connected: stats.Connected, Queues: stats.Queues,
		Notifications: stats.EventsReceived, Coalesced: stats.Coalesced, Malformed: stats.Malformed,
		Reconnects: stats.Reconnects(), LastEventAt: stats.LastEventAt, LastError: stats.LastError,
	}
}

func pollerStatus(stats queues.PollerStats) admin.Poller {
	poller := admin.Poller{
		Running: stats.Running, Polls: stats.Cycles, Failed: stats.Errors,
		Found: stats.EventsEmitted, LastPollAt: stats.LastPollAt, LastError: stats.LastError,
	}
	if !stats.NextPollAt.IsZero() {
		poller.NextPoll = admin.Seconds(max(time.Until(stats.NextPollAt), 0))
	}
	return poller
}
