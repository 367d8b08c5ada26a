package eventsystem

import (
	"maps"
	"sync"
	"time"
)

// Statistics is a snapshot of what a Recorder measured.
type Statistics struct {
	EventsProcessed uint64
	EventsFailed    uint64
	// ByKind and BySource count all events, failed ones too.
	ByKind   map[string]uint64
	BySource map[string]uint64
	// Recent is the last minute; rate and latencies are taken from it.
	Recent Window
	// ModeScore, from 0 to 1, is how effective the mode is; see Worker.
	ModeScore   float64
	LastEventAt time.Time
}

// SuccessRate is the share of all events that did not fail, 1 when there were
// none.
func (s Statistics) SuccessRate() float64 { return successRate(s.EventsProcessed, s.EventsFailed) }

// Window is what was measured in the recent past.
type Window struct {
	// Span is how much time it covers: about a minute, less after a start.
	Span      time.Duration
	Processed uint64
	Failed    uint64
	// Rate is events per second, failed ones too.
	Rate float64
	// Latencies are from the receipt of an event to its having been acted on.
	// Percentiles are at most a quarter too high.
	AverageLatency, P50, P95, P99 time.Duration
}

// SuccessRate is the share of the window's events that did not fail, 1 when
// there were none.
func (w Window) SuccessRate() float64 { return successRate(w.Processed, w.Failed) }

func successRate(processed, failed uint64) float64 {
	if processed+failed == 0 {
		return 1
	}
	return float64(processed) / float64(processed+failed)
}

// A window consists of slots that are reused in turn.
const (
	windowSlots = 13 // twelve full ones and the current one
	slotLength  = 5 * time.Second
)

type slot struct {
	number            int64 // since the recorder's start
	processed, failed uint64
	latency           histogram
}

// Recorder counts events and measures their latency. It is safe for concurrent
// use; its memory is bounded as long as the kinds and sources are.
type Recorder struct {
	started time.Time

	mu                sync.Mutex
	processed, failed uint64
	byKind, bySource  map[string]uint64
	last              time.Time
	slots             [windowSlots]slot
}

// NewRecorder returns a recorder whose window begins now.
func NewRecorder() *Recorder {
	return &Recorder{
		started: time.Now(),
		byKind:  make(map[string]uint64), bySource: make(map[string]uint64),
	}
}

// Record counts one event of a kind and a source that took the latency to be
// acted on, or failed.
func (r *Recorder) Record(kind, source string, latency time.Duration, failed bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.slotAt(now)
	if failed {
		r.failed++
		s.failed++
	} else {
		r.processed++
		s.processed++
	}
	s.latency.add(latency)
	r.byKind[kind]++
	r.bySource[source]++
	r.last = now
}

// slotAt returns the slot of that moment, emptied if it served an older one.
func (r *Recorder) slotAt(now time.Time) *slot {
	number := int64(now.Sub(r.started) / slotLength)
	s := &r.slots[number%windowSlots]
	if s.number != number {
		*s = slot{number: number}
	}
	return s
}

// Snapshot returns the statistics as of now; ModeScore is left to the caller.
func (r *Recorder) Snapshot() Statistics {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Statistics{
		EventsProcessed: r.processed,
		EventsFailed:    r.failed,
		ByKind:          maps.Clone(r.byKind),
		BySource:        maps.Clone(r.bySource),
		Recent:          r.window(),
		LastEventAt:     r.last,
	}
}

// Window returns the recent past as of now.
func (r *Recorder) Window() Window {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.window()
}

func (r *Recorder) window() Window {
	elapsed := time.Since(r.started)
	current := int64(elapsed / slotLength)
	oldest := max(current-windowSlots+1, 0)
	var latency histogram
	w := Window{Span: elapsed - time.Duration(oldest)*slotLength}
	for i := range r.slots {
		if s := &r.slots[i]; s.number >= oldest {
			w.Processed += s.processed
			w.Failed += s.failed
			latency.merge(&s.latency)
		}
	}
	// Right after a start a rate per second would be a guess.
	w.Rate = float64(w.Processed+w.Failed) / max(w.Span, time.Second).Seconds()
	w.AverageLatency = latency.average()
	w.P50, w.P95, w.P99 = latency.percentile(0.50), latency.percentile(0.95), latency.percentile(0.99)
	return w
}
