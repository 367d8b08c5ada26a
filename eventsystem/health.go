package eventsystem

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// HealthStatus is how well a system or a component is. Higher is worse.
type HealthStatus int

// The statuses.
const (
	Healthy HealthStatus = iota
	Degraded
	Warning
	Critical
)

// String returns the seed's name of the status.
func (s HealthStatus) String() string {
	switch s {
	case Healthy:
		return "Healthy"
	case Degraded:
		return "Degraded"
	case Warning:
		return "Warning"
	case Critical:
		return "Critical"
	default:
		return fmt.Sprintf("HealthStatus(%d)", int(s))
	}
}

// MarshalText writes the name.
func (s HealthStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ComponentHealth is what one component says about itself.
type ComponentHealth struct {
	Name   string       `json:"name"`
	Status HealthStatus `json:"status"`
	// Reason says why it is not Healthy.
	Reason string `json:"reason,omitempty"`
}

// Health is what an examination found: the worst of the success rate and of
// all components, and why.
type Health struct {
	Status     HealthStatus      `json:"status"`
	Components []ComponentHealth `json:"components"`
	// Reasons has one line for everything that is not Healthy.
	Reasons   []string  `json:"reasons,omitempty"`
	CheckedAt time.Time `json:"checked_at"`
}

// Summary is all reasons in one line.
func (h Health) Summary() string { return strings.Join(h.Reasons, "; ") }

// Err is nil for a Healthy system and a *HealthCheckError for any other.
func (h Health) Err() error {
	if h.Status == Healthy {
		return nil
	}
	return &HealthCheckError{Health: h}
}

// Probe examines one component. It returns when ctx ends at the latest.
type Probe func(ctx context.Context) ComponentHealth

// probeTimeout bounds each probe of an examination.
const probeTimeout = 5 * time.Second

// Assess runs all probes at once, each with a deadline of 5 s, and adds the
// success rate of the recent past as a component of its own.
func Assess(ctx context.Context, recent Window, probes []Probe) Health {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	h := Health{Components: make([]ComponentHealth, len(probes)+1)}
	var all sync.WaitGroup
	for i, probe := range probes {
		all.Go(func() { h.Components[i] = probe(ctx) })
	}
	h.Components[len(probes)] = successHealth(recent)
	all.Wait()
	for _, c := range h.Components {
		h.Status = max(h.Status, c.Status)
		if c.Status != Healthy {
			h.Reasons = append(h.Reasons, c.Name+": "+c.Reason)
		}
	}
	h.CheckedAt = time.Now()
	return h
}

// fewEvents is how many events a judgement by success rate takes at least: one
// failure of two says little.
const fewEvents = 20

// successHealth judges a success rate by the seed's thresholds. Few events are
// reason enough for Degraded, not for worse.
func successHealth(w Window) ComponentHealth {
	rate := w.SuccessRate()
	c := ComponentHealth{Name: "events"}
	switch {
	case rate > 0.95:
		return c
	case rate > 0.90 || w.Processed+w.Failed < fewEvents:
		c.Status = Degraded
	case rate > 0.75:
		c.Status = Warning
	default:
		c.Status = Critical
	}
	c.Reason = fmt.Sprintf("%d of %d events failed or were too slow in the last %v",
		w.Failed, w.Processed+w.Failed, w.Span.Round(time.Second))
	return c
}
