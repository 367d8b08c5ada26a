// Package bench measures a whole host: real PostgreSQL and a real plugin
// process. No step is left out of the work: each is claimed, crosses the process
// boundary, is settled durably, and is counted in the database afterwards.
package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/config"
)

// Options says what to measure. All fields but Body are required.
type Options struct {
	// DSN is a database with the queue schema installed. The queues bench_queue
	// and bench_dead are dropped and created anew in it.
	DSN string
	// Plugin is the path of the no-op plugin.
	Plugin string
	// Shim is the command line prefix of the plugin shim.
	Shim []string
	// Steps is how many no-op steps are drained; 0 skips that part.
	Steps int
	// Body is the size of a drained message's body in bytes. The default is 200.
	Body int
	// Slots is how many steps may be in flight.
	Slots int
	// Batch is the most messages that one claim takes.
	Batch int
	// Samples is how many messages measure the pickup latency of an idle host;
	// 0 skips that part.
	Samples int
	// Starts is how many starts of the plugin are measured; 0 skips that part.
	Starts int
	// Crossings is how many steps go to the plugin and back without a database;
	// 0 skips that part.
	Crossings int
	// Kills is how many times a plugin process is killed, each under a host of
	// its own; 0 skips that part.
	Kills int
	// Swaps is how many times the plugin is swapped under load; 0 skips that
	// part.
	Swaps  int
	Logger hclog.Logger
}

// Report is what was measured.
type Report struct {
	Drain  *Drain  `json:"drain,omitempty"`
	Pickup *Pickup `json:"pickup,omitempty"`
	Memory Memory  `json:"memory"`

	Start    *Start    `json:"start,omitempty"`
	Boundary *Boundary `json:"boundary,omitempty"`
	Recovery *Recovery `json:"recovery,omitempty"`
	Swap     *Swap     `json:"swap,omitempty"`
}

const (
	namespace  = "bench"
	pluginName = "noop"
	queue      = "bench_queue"
	dead       = "bench_dead"
)

// Run measures one part after the other.
func Run(ctx context.Context, opts Options) (Report, error) {
	var report Report
	conn, err := pgx.Connect(ctx, opts.DSN)
	if err != nil {
		return report, fmt.Errorf("connect to the database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()

	for _, part := range []struct {
		name    string
		wanted  bool
		measure func() error
	}{
		{"the drain", opts.Steps > 0, func() error {
			return withHost(ctx, conn, opts, nil, func(ctx context.Context, h *host.Host) (err error) {
				report.Drain, report.Memory, err = drain(ctx, h, conn, opts)
				return err
			})
		}},
		{"the pickup latency", opts.Samples > 0, func() error {
			settled := make(chan host.StepEvent, 1)
			return withHost(ctx, conn, opts, settled, func(ctx context.Context, _ *host.Host) (err error) {
				report.Pickup, err = pickup(ctx, conn, settled, opts.Samples)
				return err
			})
		}},
		{"the plugin's start", opts.Starts > 0, func() (err error) {
			report.Start, err = start(ctx, opts)
			return err
		}},
		{"the process boundary", opts.Crossings > 0, func() (err error) {
			report.Boundary, err = boundary(ctx, opts)
			return err
		}},
		{"the recovery from a crash", opts.Kills > 0, func() (err error) {
			report.Recovery, err = recovery(ctx, conn, opts)
			return err
		}},
		{"swaps", opts.Swaps > 0, func() (err error) {
			report.Swap, err = swap(ctx, conn, opts)
			return err
		}},
	} {
		if !part.wanted {
			continue
		}
		if err := part.measure(); err != nil {
			return report, fmt.Errorf("measure %s: %w", part.name, err)
		}
	}
	return report, nil
}

// withHost runs measure beside a host on fresh queues.
func withHost(ctx context.Context, conn *pgx.Conn, opts Options, settled chan<- host.StepEvent, measure func(context.Context, *host.Host) error) error {
	if err := recreateQueues(ctx, conn); err != nil {
		return err
	}
	var onStep func(host.StepEvent)
	if settled != nil {
		onStep = func(e host.StepEvent) {
			if !e.StartedAt.IsZero() {
				settled <- e
			}
		}
	}
	h, err := host.New(ctx, host.Options{
		Config: opts.config(), Logger: opts.Logger, Version: "bench",
		ShimCommand: opts.Shim, OnStep: onStep,
	})
	if err != nil {
		return err
	}
	runCtx, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- h.Run(runCtx) }()
	err = h.WaitReady(runCtx)
	if err == nil {
		err = measure(ctx, h)
	}
	stop()
	return errors.Join(err, <-ran)
}

func recreateQueues(ctx context.Context, conn *pgx.Conn) error {
	for _, name := range []string{queue, dead} {
		var exists bool
		err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pgmq.list_queues() WHERE queue_name = $1)`, name).Scan(&exists)
		if err == nil && exists {
			_, err = conn.Exec(ctx, `SELECT pgmq.drop_queue($1::text)`, name)
		}
		if err == nil {
			_, err = conn.Exec(ctx, `SELECT pgmq.create($1::text)`, name)
		}
		if err != nil {
			return fmt.Errorf("create queue %q anew: %w", name, err)
		}
	}
	return nil
}

// config is the configuration of the measured host.
func (o Options) config() *config.Config {
	return &config.Config{
		Host: config.Host{
			ID: "bench", LogLevel: "warn",
			Shutdown: config.Shutdown{DrainTimeout: 20 * time.Second, KillTimeout: 5 * time.Second},
		},
		Queue: config.Queue{
			Kind: "pgmq", DSN: config.Secret(o.DSN), Notifications: "auto", OnComplete: "archive", MaxConnections: 8,
		},
		EventSystem: config.EventSystem{
			SystemID: "bench", DeploymentMode: eventsystem.Hybrid,
			MaxConcurrentProcessors: o.Slots, ProcessingTimeout: 100 * time.Millisecond,
			Listener: config.Listener{
				Enabled: true, BatchProcessing: true, ConnectionTimeout: 10 * time.Second,
				RetryInterval: time.Second, SafetySweep: time.Minute,
			},
			FallbackPoller: config.FallbackPoller{
				Enabled: true, PollingInterval: 5 * time.Second, BatchSize: o.Batch, VisibilityTimeout: 30 * time.Second,
			},
			Buffers: config.Buffers{Events: 1024, Settlements: 4 * max(o.Slots, 1024), Bytes: 256 << 20},
		},
		Plugins: []config.Plugin{{
			Name: pluginName, Command: o.Plugin, Instances: 1,
			Restart: config.Restart{
				BackoffInitial: 500 * time.Millisecond, BackoffMax: 30 * time.Second, MaxCrashes: 5, Window: 2 * time.Minute,
			},
		}},
		Namespaces: []config.Namespace{{
			Name: namespace, Plugin: pluginName, Queue: queue, Concurrency: o.Slots, StepKey: "step", DeadLetter: dead,
			Retry: config.Retry{
				MaxAttempts: 5, MaxDeliveries: 20, MaxCrashes: 3, Backoff: config.BackoffFixed, Initial: time.Second, Max: time.Second,
			},
		}},
	}
}
