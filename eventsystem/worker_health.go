package eventsystem

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Health examines the worker and what it depends on now: the success rate of
// the last minute, the sources of the mode, missing queues, all loops, and the
// probes that it was given.
func (w *Worker) Health(ctx context.Context) Health {
	return Assess(ctx, w.recorder.Window(), append([]Probe{
		w.sourcesHealth, w.queuesHealth, w.loopsHealth,
	}, w.probes...))
}

// sourcesHealth is Critical when nothing finds work, Warning when only the
// safety sweep does, and Degraded when a fallback or its better half is down.
func (w *Worker) sourcesHealth(context.Context) ComponentHealth {
	c := ComponentHealth{Name: "sources"}
	if !w.Running() {
		c.Status, c.Reason = Critical, "the event system does not run"
		return c
	}
	mode := w.Mode()
	var reasons []string
	works := 0
	note := func(name string, working bool, lastError, starting string) {
		if working {
			works++
			return
		}
		if lastError == "" {
			lastError = starting
		}
		reasons = append(reasons, fmt.Sprintf("the %s does not work: %s", name, lastError))
	}
	if mode.HasEventDriven() {
		s := w.listener.Stats()
		note("listener", s.Connected, s.LastError, "it is still connecting")
	}
	if mode.HasPolling() {
		s := w.poller.Stats()
		note("fallback poller", s.Working, s.LastError, "its first probe is under way")
	}
	if mode == EventDrivenOnly {
		s := w.sweeper.Stats()
		note("safety sweep", s.Working, s.LastError, "its first probe is under way")
	}
	if len(reasons) == 0 {
		return c
	}
	c.Reason = strings.Join(reasons, "; ")
	switch {
	case works == 0:
		c.Status = Critical
	case mode == EventDrivenOnly && !w.listener.Stats().Connected:
		c.Status = Warning
	default:
		c.Status = Degraded
	}
	return c
}

// queuesHealth is Degraded while a queue is missing or cannot be probed: its
// namespace stands still and nothing else would say so.
func (w *Worker) queuesHealth(context.Context) ComponentHealth {
	c := ComponentHealth{Name: "queues"}
	var missing, faulty []string
	for _, state := range w.QueueStates() {
		switch {
		case state.Err != nil:
			faulty = append(faulty, fmt.Sprintf("%s (%v)", state.Queue, state.Err))
		case state.Missing:
			missing = append(missing, state.Queue)
		}
	}
	var reasons []string
	if len(missing) > 0 {
		reasons = append(reasons, "do not exist: "+strings.Join(missing, ", "))
	}
	if len(faulty) > 0 {
		reasons = append(reasons, "cannot be probed: "+strings.Join(faulty, ", "))
	}
	if len(reasons) > 0 {
		c.Status, c.Reason = Degraded, strings.Join(reasons, "; ")
	}
	return c
}

// loopGrace is how late a loop may be before it counts as stuck.
const loopGrace = 10 * time.Second

func (w *Worker) loopsHealth(context.Context) ComponentHealth {
	c := ComponentHealth{Name: "loops"}
	if err := w.Live(loopGrace); err != nil {
		c.Status, c.Reason = Critical, err.Error()
	}
	return c
}

// checkHealthSoon makes the monitor look without waiting for its interval.
func (w *Worker) checkHealthSoon() {
	select {
	case w.checkSoon <- struct{}{}:
	default:
	}
}

// watchHealth examines the worker until the run ends, and logs changes.
func (w *Worker) watchHealth(ctx context.Context) {
	defer w.monitored.Beat(0)
	interval := w.cfg.HealthCheckInterval
	w.awaitSources(ctx)
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		w.monitored.Beat(interval + interval/10 + probeTimeout)
		select {
		case <-ctx.Done():
			return
		case <-w.checkSoon:
		case <-timer.C:
		}
		health := w.Health(ctx)
		if ctx.Err() != nil {
			return
		}
		w.noteHealth(health)
		timer.Reset(interval + time.Duration(rand.Float64()*float64(interval)/10))
	}
}

// awaitSources gives the sources time to connect, so that a start is not
// reported as a fault.
func (w *Worker) awaitSources(ctx context.Context) {
	patience := min(w.cfg.HealthCheckInterval, w.cfg.ConnectionTimeout)
	w.monitored.Beat(patience)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := w.WaitProven(ctx); err != nil {
		w.checkHealthSoon()
	}
}

func (w *Worker) noteHealth(health Health) {
	if health.Status == Healthy {
		w.broadcaster.Publish(HealthCheckPassed{Health: health})
	} else {
		w.broadcaster.Publish(HealthCheckFailed{Health: health})
	}
	if health.Status == w.lastStatus {
		return
	}
	if health.Status == Healthy {
		w.log.Info("healthy again", "was", w.lastStatus)
	} else {
		w.log.Warn("health changed", "status", health.Status, "was", w.lastStatus, "reasons", health.Reasons)
	}
	w.lastStatus = health.Status
}
