package host

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/host/supervisor"
)

// collector reads what other parts count anyway, at scrape time. It never
// touches the database: a scrape costs nothing there.
type collector struct {
	host *Host

	events, eventsFailed, effectiveness, mode *prometheus.Desc
	notifications, malformed, coalesced       *prometheus.Desc
	listenerConnected, reconnects             *prometheus.Desc
	polls, pollErrors                         *prometheus.Desc
	lag                                       *prometheus.Desc
	pluginState, pluginReady, pluginSteps     *prometheus.Desc
	pluginRestarts, pluginCrashes             *prometheus.Desc
	pluginFailedStarts, pluginTimeToReady     *prometheus.Desc
	pluginHangs, pluginDroppedLines           *prometheus.Desc
}

func newCollector(h *Host) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("stephost_"+name, help, labels, nil)
	}
	return &collector{
		host:               h,
		events:             desc("events_total", "Events by kind.", "kind"),
		eventsFailed:       desc("events_failed_total", "Events that were not acted on, or not in time."),
		effectiveness:      desc("mode_effectiveness", "Share of idle lanes' work that notifications found, 0 to 1."),
		mode:               desc("mode", "1 for the deployment mode in force.", "mode"),
		notifications:      desc("listener_notifications_total", "Notifications that arrived."),
		malformed:          desc("listener_malformed_total", "Notifications that could not be understood."),
		coalesced:          desc("listener_coalesced_total", "Notifications that were merged into one that waited."),
		listenerConnected:  desc("listener_connected", "1 while LISTEN is established and verified."),
		reconnects:         desc("listener_reconnects_total", "Connections after the first."),
		polls:              desc("poller_polls_total", "Probes that the database answered."),
		pollErrors:         desc("poller_errors_total", "Probes that failed."),
		lag:                desc("queue_lag_seconds", "How long the oldest claimable message had been visible at the last probe.", "queue"),
		pluginState:        desc("plugin_state", "1 for the state that the plugin is in.", "plugin", "state"),
		pluginRestarts:     desc("plugin_restarts_total", "Starts after the first, all instances together.", "plugin"),
		pluginCrashes:      desc("plugin_crashes_total", "Processes that ended, or had to be killed, after they had been ready.", "plugin"),
		pluginFailedStarts: desc("plugin_failed_starts_total", "Starts that did not lead to a ready process.", "plugin"),
		pluginHangs:        desc("plugin_hangs_total", "Processes that were replaced because a handler ignored its cancellation.", "plugin"),
		pluginDroppedLines: desc("plugin_dropped_log_lines_total", "Lines that a plugin wrote and that were too many for the log.", "plugin"),
		pluginTimeToReady:  desc("plugin_time_to_ready_seconds", "How long the latest start took that succeeded.", "plugin"),
		pluginReady:        desc("plugin_ready_instances", "Instances that are ready.", "plugin"),
		pluginSteps:        desc("plugin_steps_in_flight", "Steps with the plugin.", "plugin"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	stats := c.host.worker.Statistics()
	for kind, n := range stats.ByKind {
		counter(c.events, n, kind)
	}
	counter(c.eventsFailed, stats.EventsFailed)
	gauge(c.effectiveness, stats.ModeScore)
	for _, mode := range eventsystem.Modes() {
		gauge(c.mode, truth(mode == stats.Mode), mode.String())
	}
	counter(c.notifications, stats.Listener.EventsReceived)
	counter(c.malformed, stats.Listener.Malformed)
	counter(c.coalesced, stats.Listener.Coalesced)
	gauge(c.listenerConnected, truth(stats.Listener.Connected))
	counter(c.reconnects, stats.Listener.Reconnects())
	counter(c.polls, stats.Poller.Cycles+stats.Sweep.Cycles)
	counter(c.pollErrors, stats.Poller.Errors+stats.Sweep.Errors)
	for _, state := range c.host.worker.QueueStates() {
		gauge(c.lag, state.OldestWait.Seconds(), state.Queue)
	}
	for _, p := range c.host.fleet.Current() {
		status := p.Plugin.Status()
		for _, state := range pluginStates() {
			gauge(c.pluginState, truth(state == status.State), status.Name, string(state))
		}
		counter(c.pluginRestarts, status.Restarts, status.Name)
		counter(c.pluginCrashes, status.Crashes, status.Name)
		counter(c.pluginFailedStarts, status.FailedStarts, status.Name)
		counter(c.pluginHangs, status.Hangs, status.Name)
		counter(c.pluginDroppedLines, status.DroppedLogLines, status.Name)
		if status.TimeToReady > 0 {
			gauge(c.pluginTimeToReady, status.TimeToReady.Seconds(), status.Name)
		}
		gauge(c.pluginReady, float64(status.Ready()), status.Name)
	}
	// Those of a version that retires are with the plugin too.
	inFlight := make(map[string]int)
	for _, g := range c.host.fleet.Generations() {
		inFlight[g.Name] += g.Plugin.InFlight()
	}
	for name, n := range inFlight {
		gauge(c.pluginSteps, float64(n), name)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func pluginStates() []supervisor.State {
	return []supervisor.State{
		supervisor.StateStopped, supervisor.StateStarting, supervisor.StateReady,
		supervisor.StateDraining, supervisor.StateBackingOff, supervisor.StateTripped,
	}
}

// countDroppedLines reports what the log says of itself.
func (h *Host) countDroppedLines(dropped func() uint64) {
	if dropped == nil {
		return
	}
	h.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "stephost_dropped_log_lines_total",
		Help: "Lines of the host's log that were dropped because it was not read fast enough.",
	}, func() float64 { return float64(dropped()) }))
}
