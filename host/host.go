package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/fleet"
	"github.com/stephost/stephost/host/janitor"
	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/registry"
	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/plugin/protocol"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

// StepEvent tells an observer about one step; see processor.StepEvent.
type StepEvent = processor.StepEvent

// Options are what a Host is built from. Config, Logger and ShimCommand are
// required.
type Options struct {
	Config *config.Config
	Logger hclog.Logger
	// DroppedLogLines says how many lines the log has dropped so far, for a
	// metric. May be nil. The host logs while it holds locks: what is behind
	// Logger should rather drop a line than block.
	DroppedLogLines func() uint64
	// Version is this program's, for people.
	Version string
	// ShimCommand is the command line prefix that runs the plugin shim.
	ShimCommand []string
	// OnStep observes every step; it must be quick. May be nil.
	OnStep func(StepEvent)
	// Load reads the configuration again, for Reload; nil: there is nothing to
	// read.
	Load Load
	// Hold says why a plugin is not to be started now, or "". It is asked
	// whenever one is about to be, with the plugin's name. May be nil.
	Hold func(plugin string) string
	// AllowAttach lets plugins that somebody has started under a debugger take
	// the place of the host's own processes. Whoever reaches the admin endpoint
	// can do that then.
	AllowAttach bool
}

// Load reads a configuration. It is good unless the diagnostics have errors.
type Load func() (*config.Config, hcl.Diagnostics)

// Host is a whole worker host. Its methods are safe for concurrent use.
type Host struct {
	current   atomic.Pointer[inForce]
	log       hclog.Logger
	version   string
	startedAt time.Time

	metrics     *prometheus.Registry
	broker      *pgmq.Broker
	registry    *registry.Registry
	processor   *processor.Processor
	worker      *eventsystem.Worker
	admin       *admin.Server // nil: switched off
	shim        []string
	fleet       *fleet.Fleet
	janitor     *janitor.Janitor
	deadLetters *deadLetters
	pluginLevel *supervisor.LogLevel
	programs    *programs
	hold        func(plugin string) string
	// started is closed once everything runs.
	started chan struct{}

	allowAttach  bool
	draining     atomic.Bool
	reloads      *reloads
	modeMu       sync.Mutex // held while the mode is switched
	modeOverride atomic.Bool
	closeOnce    sync.Once
}

// connectTimeout bounds the first contact with the database.
const connectTimeout = 20 * time.Second

// New builds a host. The caller runs it with Run or gives it up with Close.
func New(ctx context.Context, opts Options) (*Host, error) {
	h := &Host{
		log:         opts.Logger,
		version:     opts.Version,
		startedAt:   time.Now(),
		metrics:     prometheus.NewRegistry(),
		registry:    &registry.Registry{},
		shim:        opts.ShimCommand,
		hold:        opts.Hold,
		started:     make(chan struct{}),
		reloads:     newReloads(opts.Load),
		allowAttach: opts.AllowAttach,
	}
	h.current.Store(newInForce(opts.Config))
	h.metrics.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var err error
	if h.broker, err = h.openBroker(ctx); err != nil {
		return nil, err
	}
	if err := h.build(opts); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// build makes everything that needs the broker.
func (h *Host) build(opts Options) error {
	h.buildProcessor(opts)
	h.buildFleet()
	h.programs = &programs{host: h}
	h.janitor = janitor.New(h.broker, rules(h.cfg().Namespaces), h.log.Named("janitor"))
	h.deadLetters = newDeadLetters(h.broker.CountMessages, func() []string { return deadLetterQueues(h.cfg().Namespaces) }, h.log.Named("dead_letters"))
	if err := h.buildWorker(); err != nil {
		return err
	}
	h.metrics.MustRegister(newCollector(h), newRetentionCollector(h.janitor), h.deadLetters, h.reloads.counter)
	h.countDroppedLines(opts.DroppedLogLines)
	if h.cfg().Host.Admin.Listen == "" {
		return nil
	}
	server, err := admin.New(admin.Options{
		Listen:     h.cfg().Host.Admin.Listen,
		Token:      h.cfg().Host.Admin.Token.Reveal(),
		Controller: controller{h},
		Gatherer:   h.metrics,
		Logger:     h.log.Named("admin"),
	})
	if err != nil {
		return fmt.Errorf("admin endpoint: %w", err)
	}
	h.admin = server
	return nil
}

func (h *Host) openBroker(ctx context.Context) (*pgmq.Broker, error) {
	q := h.cfg().Queue
	if q.DSN == "" {
		return nil, errors.New("queue \"pgmq\": dsn is not set: set DATABASE_URL, or use `stephost dev`, which starts a database")
	}
	broker, err := pgmq.Open(ctx, pgmq.Options{
		DSN:            q.DSN.Reveal(),
		ListenDSN:      q.ListenDSN.Reveal(),
		MaxConnections: q.MaxConnections,
		OnComplete:     pgmq.OnComplete(q.OnComplete),
		Notifications:  pgmq.Notifications(q.Notifications),
		NamespaceOf:    func(queue string) string { return h.current.Load().namespaceOf(queue) },
		ConnectTimeout: h.cfg().EventSystem.Listener.ConnectionTimeout,
		Logger:         h.log.Named("pgmq"),
	})
	if err != nil {
		return nil, fmt.Errorf("open the queue store: %w", err)
	}
	return broker, nil
}

func (h *Host) buildProcessor(opts Options) {
	h.processor = processor.New(processor.Options{
		Broker:     h.broker,
		Registry:   h.registry,
		Namespaces: laneNamespaces(h.cfg().Namespaces),
		Limits:     limits(h.cfg()),
		MaxBody:    protocol.MaxMessageBytes - protocol.MaxBatchBytes,
		WorkerID:   h.cfg().Host.ID,
		QueueOf:    func(ns string) (string, bool) { return h.current.Load().queueOf(ns) },
		// The worker is built after the processor that it commands; both
		// callbacks come only after Start.
		Idle:        func(src queues.Source, _ time.Duration) { h.worker.Credit(src) },
		Rescheduled: func(queue string, d time.Duration) { h.worker.NotifyDue(queue, d) },
		OnStep:      opts.OnStep,
		Metrics:     processor.NewMetrics(h.metrics),
		Logger:      h.log.Named("processor"),
	})
}

func (h *Host) buildWorker() error {
	es := h.cfg().EventSystem
	var err error
	h.worker, err = eventsystem.NewWorker(eventsystem.WorkerConfig{
		SystemID:                es.SystemID,
		Mode:                    es.DeploymentMode,
		Queues:                  queueNames(h.cfg().Namespaces),
		HealthMonitoringEnabled: es.HealthMonitoringEnabled,
		HealthCheckInterval:     es.HealthCheckInterval,
		ProcessingTimeout:       es.ProcessingTimeout,
		ListenerEnabled:         es.Listener.Enabled,
		ConnectionTimeout:       es.Listener.ConnectionTimeout,
		RetryInterval:           es.Listener.RetryInterval,
		SafetySweep:             es.Listener.SafetySweep,
		PollerEnabled:           es.FallbackPoller.Enabled,
		PollingInterval:         es.FallbackPoller.PollingInterval,
		Buffer:                  es.Buffers.Events,
	}, eventsystem.WorkerParts{
		Commander:  h.processor,
		Subscriber: h.broker,
		Prober:     h.broker,
		Probes:     []eventsystem.Probe{h.probeDatabase, h.probePlugins, h.probeProcessor},
		Logger:     h.log.Named("events"),
	})
	if err != nil {
		return fmt.Errorf("event_system: %w", err)
	}
	return nil
}

// Run serves until ctx ends, then drains. It returns nil after a clean drain.
// It may be called once.
func (h *Host) Run(ctx context.Context) error {
	defer h.Close()
	if h.admin != nil {
		if err := h.admin.Start(ctx); err != nil {
			return fmt.Errorf("admin endpoint: %w", err)
		}
	}
	err := h.serve(ctx)
	if err == nil {
		close(h.started)
		h.log.Info("host serves", "id", h.cfg().Host.ID, "version", h.version,
			"mode", h.worker.Mode(), "namespaces", len(h.cfg().Namespaces), "admin", h.AdminAddr())
		<-ctx.Done()
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // being stopped while starting is no failure
	}
	return errors.Join(err, h.drain())
}

// serve starts everything; what was started is ended by drain, also when a
// later start fails.
func (h *Host) serve(ctx context.Context) error {
	h.programs.start()
	if err := h.startPlugins(); err != nil {
		return err
	}
	h.awaitPlugins(ctx)
	h.processor.Start()
	h.janitor.Start()
	h.deadLetters.start()
	return h.worker.Start(ctx)
}

// drain ends everything in the order that loses nothing.
func (h *Host) drain() error {
	h.draining.Store(true)
	h.fleet.Freeze()
	h.reloads.end()
	h.log.Info("draining", "drain_timeout", h.cfg().Host.Shutdown.DrainTimeout)
	started := time.Now()
	var errs []error

	h.programs.stop()
	h.janitor.Stop()
	h.deadLetters.stop()
	stopCtx, cancel := context.WithTimeout(context.Background(), h.stopGrace())
	errs = append(errs, h.worker.Stop(stopCtx))
	cancel()

	drainCtx, cancel := context.WithTimeout(context.Background(), h.cfg().Host.Shutdown.DrainTimeout)
	errs = append(errs, h.processor.Drain(drainCtx))
	cancel()

	errs = append(errs, h.stopPlugins())
	h.programs.wait()
	h.processor.Stop()
	if h.admin != nil {
		adminCtx, cancel := context.WithTimeout(context.Background(), time.Second)
		errs = append(errs, h.admin.Shutdown(adminCtx))
		cancel()
	}
	err := errors.Join(errs...)
	h.log.Info("drained", "in", time.Since(started).Round(time.Millisecond), "clean", err == nil)
	return err
}

// stopGrace bounds the stop of a part that has nothing left to wait for. Handlers
// may be given no time at all, the host's own loops need a moment.
func (h *Host) stopGrace() time.Duration {
	return max(h.cfg().Host.Shutdown.KillTimeout, 2*time.Second)
}

// Close frees what New acquired. Run calls it.
func (h *Host) Close() {
	h.closeOnce.Do(func() {
		h.reloads.end()
		if h.broker != nil {
			h.broker.Close()
		}
	})
}

// AdminAddr is the admin endpoint's bound address, or "".
func (h *Host) AdminAddr() string {
	if h.admin == nil {
		return ""
	}
	return h.admin.Addr()
}

// Serving is closed once everything has been started; plugins may take longer
// to be ready.
func (h *Host) Serving() <-chan struct{} { return h.started }

// WaitReady waits until every source of work and every plugin is ready.
func (h *Host) WaitReady(ctx context.Context) error {
	select {
	case <-h.started:
	case <-ctx.Done():
		return fmt.Errorf("wait for the start of the host: %w", ctx.Err())
	}
	if err := h.worker.WaitProven(ctx); err != nil {
		return fmt.Errorf("wait for the event system: %w", err)
	}
	for _, p := range h.fleet.Current() {
		if err := p.Plugin.WaitReady(ctx); err != nil {
			return fmt.Errorf("wait for plugin %q: %w", p.Name, err)
		}
	}
	return nil
}

// Status is a snapshot of the host, as the admin endpoint shows it.
func (h *Host) Status(ctx context.Context) admin.Status { return controller{h}.Status(ctx) }

// SetPaused stops a namespace from claiming, or lets it claim again.
func (h *Host) SetPaused(ctx context.Context, namespace string, paused bool) error {
	return controller{h}.SetPaused(ctx, namespace, paused)
}

// ResetPlugin closes a plugin's breaker, forgets its back-off and starts at
// once what waits.
func (h *Host) ResetPlugin(ctx context.Context, name string) error {
	return controller{h}.ResetPlugin(ctx, name)
}

// ReloadPlugin swaps a plugin's processes for new ones of its program as it is
// now.
func (h *Host) ReloadPlugin(ctx context.Context, name string) (admin.Swap, error) {
	return controller{h}.ReloadPlugin(ctx, name)
}

// Reload reads the configuration again and takes over what has changed: plugins,
// namespaces, limits and the mode. Everything is checked before anything changes,
// and changed plugins must have come up: an *admin.InvalidConfigError says what
// is wrong and that the host goes on as it was. What needs a new start is
// reported as such. Reloads come one after the other; when ctx ends, the one
// under way goes on and the log tells how it ends.
func (h *Host) Reload(ctx context.Context) (admin.Reload, error) { return controller{h}.Reload(ctx) }

// SetMode switches the deployment mode of a running host.
func (h *Host) SetMode(ctx context.Context, mode eventsystem.Mode) error {
	return controller{h}.SetMode(ctx, mode)
}

// Settled is how many messages of a namespace this host has completed.
func (h *Host) Settled(ctx context.Context, namespace string) uint64 {
	status, err := processor.Do(ctx, h.processor, processor.GetStatus{})
	if err != nil {
		return 0
	}
	for _, ns := range status.Namespaces {
		if ns.Namespace.Name == namespace {
			return ns.Counts[processor.OutcomeSucceeded]
		}
	}
	return 0
}
