package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/host/supervisor"
)

// Start is how long the smallest plugin takes from being started to being
// ready for steps, and how much memory its process then has.
type Start struct {
	Starts  int       `json:"starts"`
	ToReady Quantiles `json:"to_ready"`
	// Resident is in bytes, 0 where the platform does not tell.
	Resident int64 `json:"plugin_resident"`
}

// start starts and stops the plugin again and again.
func start(ctx context.Context, opts Options) (*Start, error) {
	result := &Start{Starts: opts.Starts}
	latencies := make([]time.Duration, 0, opts.Starts)
	for range opts.Starts {
		began := time.Now()
		err := withPlugin(ctx, opts, func(p *supervisor.Plugin) error {
			latencies = append(latencies, time.Since(began))
			result.Resident = memoryOf(p.Status().Instances[0].PID).Resident
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	result.ToReady = quantiles(latencies)
	return result, nil
}

// withPlugin runs measure beside a ready plugin, without any host around it.
func withPlugin(ctx context.Context, opts Options, measure func(*supervisor.Plugin) error) (err error) {
	p, err := supervisor.Start(
		supervisor.Spec{Name: "noop", Command: opts.Plugin, LogLevel: "warn"},
		supervisor.Deps{Logger: opts.Logger, Shim: opts.Shim, HostVersion: "bench"},
	)
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		err = errors.Join(err, p.Stop(stopping))
	}()
	ready, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.WaitReady(ready); err != nil {
		return fmt.Errorf("start the no-op plugin: %w", err)
	}
	return measure(p)
}
