package eventsystem

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stephost/stephost/queues"
)

// WorkerConfig configures a Worker. Durations that are zero mean the defaults.
type WorkerConfig struct {
	// SystemID names the system; default "worker-event-system".
	SystemID string
	// Mode is the mode to start in.
	Mode Mode
	// Queues are those of the host's namespaces at first. They need not exist yet.
	Queues []string

	// HealthMonitoringEnabled makes the worker examine itself every
	// HealthCheckInterval (default 30 s) and whenever a source comes or goes.
	HealthMonitoringEnabled bool
	HealthCheckInterval     time.Duration
	// ProcessingTimeout, from the receipt of an event to its lane having acted
	// on it, is the longest that does not count as failed; default 100 ms.
	ProcessingTimeout time.Duration

	// ListenerEnabled allows the modes that listen; Allow changes it.
	ListenerEnabled   bool
	ConnectionTimeout time.Duration
	RetryInterval     time.Duration
	// SafetySweep is the longest time between two looks into all queues in
	// EventDrivenOnly; default 60 s.
	SafetySweep time.Duration

	// PollerEnabled allows the modes that poll; Allow changes it.
	PollerEnabled   bool
	PollingInterval time.Duration

	// Buffer bounds the events that wait to be processed.
	Buffer int
}

func (c WorkerConfig) withDefaults() WorkerConfig {
	if c.SystemID == "" {
		c.SystemID = "worker-event-system"
	}
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&c.HealthCheckInterval, 30 * time.Second},
		{&c.ProcessingTimeout, 100 * time.Millisecond},
		{&c.ConnectionTimeout, 10 * time.Second},
		{&c.RetryInterval, time.Second},
		{&c.SafetySweep, 60 * time.Second},
		{&c.PollingInterval, 5 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	return c
}

// WorkerParts is what a Worker works with. All but Probes are required.
type WorkerParts struct {
	Commander  Commander
	Subscriber queues.Subscriber
	Prober     queues.Prober
	// Probes examine what the worker depends on, such as the database and the
	// plugins.
	Probes []Probe
	Logger hclog.Logger
}

// Worker is the event system of a worker host: see the package comment. It can
// be started again after it was stopped.
type Worker struct {
	cfg       WorkerConfig
	commander Commander
	probes    []Probe
	log       hclog.Logger

	listener *queues.Listener
	poller   *queues.FallbackPoller
	sweeper  *queues.FallbackPoller
	// feeds has one entry for each of the three.
	feeds []*feed

	mode        atomic.Int64
	listens     atomic.Bool // ListenerEnabled, as of now
	polls       atomic.Bool // PollerEnabled
	running     atomic.Bool
	broadcaster Broadcaster
	recorder    *Recorder
	counts      workerCounts

	// transition is held while sources are started or stopped; it has one
	// place.
	transition chan struct{}

	mu        sync.Mutex
	endRun    context.CancelFunc // ends what belongs to one run
	run       context.Context
	startedAt time.Time
	lastError string
	lastErrAt time.Time

	monitor    sync.WaitGroup
	monitored  queues.Pulse
	checkSoon  chan struct{} // one place
	lastStatus HealthStatus  // the monitor's
}

var _ System[queues.Event, WorkerConfig, WorkerStatistics] = (*Worker)(nil)

// NewWorker returns a worker that does not run yet. A mode whose source is
// disabled is a *ConfigurationError.
func NewWorker(cfg WorkerConfig, parts WorkerParts) (*Worker, error) {
	cfg = cfg.withDefaults()
	w := &Worker{
		cfg: cfg, commander: parts.Commander, probes: parts.Probes,
		log:      parts.Logger,
		recorder: NewRecorder(),
		listener: queues.NewListener(queues.ListenerConfig{
			Queues: cfg.Queues, ConnectionTimeout: cfg.ConnectionTimeout,
			RetryInterval: cfg.RetryInterval, Buffer: cfg.Buffer,
		}, parts.Subscriber, parts.Logger.Named("listener")),
		poller: queues.NewFallbackPoller(queues.PollerConfig{
			Queues: cfg.Queues, Interval: cfg.PollingInterval,
		}, parts.Prober, parts.Logger.Named("poller")),
		sweeper: queues.NewFallbackPoller(queues.PollerConfig{
			Name: "safety sweep", Queues: cfg.Queues, Interval: cfg.SafetySweep, Source: queues.SourceSweep,
		}, parts.Prober, parts.Logger.Named("sweep")),
		transition: make(chan struct{}, 1),
		checkSoon:  make(chan struct{}, 1),
	}
	w.feeds = []*feed{
		{name: "listener", source: w.listener, needed: Mode.HasEventDriven},
		{name: "poller", source: w.poller, needed: Mode.HasPolling},
		{name: "safety sweep", source: w.sweeper, needed: func(m Mode) bool { return m == EventDrivenOnly }},
	}
	w.Allow(cfg.ListenerEnabled, cfg.PollerEnabled)
	if reason := w.forbids(cfg.Mode); reason != "" {
		return nil, &ConfigurationError{Key: "deployment_mode", Reason: reason}
	}
	w.mode.Store(int64(cfg.Mode))
	return w, nil
}

// Allow says which sources later switches of the mode may use. It changes nothing
// about the mode in force.
func (w *Worker) Allow(listener, poller bool) {
	w.listens.Store(listener)
	w.polls.Store(poller)
}

// forbids says why the configuration rules a mode out, or "".
func (w *Worker) forbids(mode Mode) string {
	switch {
	case mode.HasEventDriven() && !w.listens.Load():
		return fmt.Sprintf("%v needs the listener, which is disabled (listener.enabled = false)", mode)
	case mode.HasPolling() && !w.polls.Load():
		return fmt.Sprintf("%v needs the fallback poller, which is disabled (fallback_poller.enabled = false)", mode)
	case mode != Hybrid && mode != PollingOnly && mode != EventDrivenOnly:
		return fmt.Sprintf("%v is no deployment mode", mode)
	default:
		return ""
	}
}

// ID names the system.
func (w *Worker) ID() string { return w.cfg.SystemID }

// Mode is the mode in force.
func (w *Worker) Mode() Mode { return Mode(w.mode.Load()) }

// Running reports whether the worker is between Start and Stop.
func (w *Worker) Running() bool { return w.running.Load() }

// Config returns the configuration that the worker was built with, and its
// defaults.
func (w *Worker) Config() WorkerConfig { return w.cfg }

// Subscribe returns a channel of notifications.
func (w *Worker) Subscribe(buffer int) (<-chan Notification, func()) {
	return w.broadcaster.Subscribe(buffer)
}

// ErrAlreadyRunning is returned by Start.
var ErrAlreadyRunning = errors.New("event system runs already")

// Start makes the sources of the mode run and returns at once: a database that
// is down is retried in the background for as long as it takes, and Health
// says so. WaitProven waits.
func (w *Worker) Start(ctx context.Context) error {
	if err := w.lockTransition(ctx); err != nil {
		return fmt.Errorf("start event system: %w", err)
	}
	defer w.unlockTransition()
	if w.running.Load() {
		return ErrAlreadyRunning
	}
	run, end := context.WithCancel(context.Background())
	w.mu.Lock()
	w.run, w.endRun, w.startedAt = run, end, time.Now()
	w.mu.Unlock()
	mode := w.Mode()
	for _, f := range w.feeds {
		if f.needed(mode) {
			w.startFeed(f)
		}
	}
	w.running.Store(true)
	if w.cfg.HealthMonitoringEnabled {
		w.monitor.Go(func() { w.watchHealth(run) })
	}
	w.broadcaster.Publish(Started{Mode: mode})
	w.log.Info("event system started", "id", w.cfg.SystemID, "mode", mode)
	return nil
}

// WaitProven waits until every source of the mode in force works.
func (w *Worker) WaitProven(ctx context.Context) error { return w.waitProven(ctx, w.Mode()) }

// Stop stops the sources, lets what they had found be processed and joins all
// goroutines, within ctx. A mode switch that is under way is abandoned. After
// an error Stop can be called again.
func (w *Worker) Stop(ctx context.Context) error {
	w.mu.Lock()
	if w.endRun != nil {
		w.endRun()
	}
	w.mu.Unlock()
	if err := w.lockTransition(ctx); err != nil {
		return fmt.Errorf("stop event system: %w", err)
	}
	defer w.unlockTransition()
	if !w.running.Load() {
		return nil
	}
	var errs []error
	for _, f := range w.feeds {
		errs = append(errs, f.stop(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop event system: %w", err)
	}
	w.monitor.Wait() // it ended with the run; its probes have a deadline
	w.running.Store(false)
	w.broadcaster.Publish(Stopped{})
	w.log.Info("event system stopped", "id", w.cfg.SystemID)
	return nil
}

func (w *Worker) lockTransition(ctx context.Context) error {
	select {
	case w.transition <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Worker) unlockTransition() { <-w.transition }

// NotifyDue tells of a message that becomes visible after d, such as a retry
// that was just settled, so that no mode finds it late. It does not block.
func (w *Worker) NotifyDue(queue string, d time.Duration) {
	w.poller.NotifyDue(queue, d)
	w.sweeper.NotifyDue(queue, d)
}

// SetQueues replaces the queues, in every mode and at any time, also before
// Start and while a switch of the mode is under way. It does not block:
// WaitProven waits until the sources look after the new queues, and whatever
// those have already is found.
func (w *Worker) SetQueues(names []string) {
	w.listener.SetQueues(names)
	w.poller.SetQueues(names)
	w.sweeper.SetQueues(names)
}

// QueueStates returns what the last probe learned of each queue.
func (w *Worker) QueueStates() []queues.QueueState {
	if w.Mode().HasPolling() {
		return w.poller.QueueStates()
	}
	return w.sweeper.QueueStates()
}

// Live names a loop that has not come round by the time that it had promised
// and the grace on top, if there is one.
func (w *Worker) Live(grace time.Duration) error {
	for _, f := range w.feeds {
		if late := f.source.Pulse().Overdue(); late > grace {
			return fmt.Errorf("the loop of the %s is overdue by %v", f.name, late.Round(time.Millisecond))
		}
		if late := f.forwarding.Overdue(); late > grace {
			return fmt.Errorf("what the %s found has been in the hands of the processor for too long, by %v", f.name, late.Round(time.Millisecond))
		}
	}
	if late := w.monitored.Overdue(); late > grace {
		return fmt.Errorf("the health monitor is overdue by %v", late.Round(time.Millisecond))
	}
	return nil
}
