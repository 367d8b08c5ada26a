package host

import (
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/processor"
)

// laneNamespaces translates the namespaces of the configuration.
func laneNamespaces(namespaces []config.Namespace) []processor.Namespace {
	lanes := make([]processor.Namespace, 0, len(namespaces))
	for _, ns := range namespaces {
		lanes = append(lanes, processor.Namespace{
			Name:        ns.Name,
			Queue:       ns.Queue,
			Plugin:      ns.Plugin,
			Concurrency: ns.Concurrency,
			Timeout:     ns.Timeout,
			StepKey:     ns.StepKey,
			ResultQueue: ns.ResultQueue,
			DeadLetter:  ns.DeadLetter,
			Retry:       retryPolicy(ns.Retry),
		})
	}
	return lanes
}

// limits translates the limits of the configuration.
func limits(cfg *config.Config) processor.Limits {
	es := cfg.EventSystem
	return processor.Limits{
		MaxConcurrent:    es.MaxConcurrentProcessors,
		BatchSize:        es.FallbackPoller.BatchSize,
		BatchProcessing:  es.Listener.BatchProcessing,
		Lease:            es.FallbackPoller.VisibilityTimeout,
		SettlementBuffer: es.Buffers.Settlements,
		Bytes:            es.Buffers.Bytes,
		KillTimeout:      cfg.Host.Shutdown.KillTimeout,
	}
}

func retryPolicy(r config.Retry) processor.RetryPolicy {
	policy := processor.RetryPolicy{
		MaxAttempts:   r.MaxAttempts,
		MaxDeliveries: r.MaxDeliveries,
		MaxCrashes:    r.MaxCrashes,
		Jitter:        r.Jitter,
	}
	switch r.Backoff {
	case config.BackoffFixed:
		policy.Delay = processor.Fixed(min(r.Initial, r.Max))
	case config.BackoffLinear:
		policy.Delay = processor.Linear(r.Initial, r.Max)
	case config.BackoffExponential:
		policy.Delay = processor.Exponential(r.Initial, r.Max)
	}
	return policy
}
