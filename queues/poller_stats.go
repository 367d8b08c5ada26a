package queues

import (
	"slices"
	"time"
)

// PollerStats is a snapshot of a poller. Counters run for the poller's whole
// life, across stops and starts.
type PollerStats struct {
	Running bool
	// Working means that the last probe succeeded.
	Working bool
	// Cycles counts probes that the database answered and Errors those that it
	// did not.
	Cycles uint64
	Errors uint64
	// EventsEmitted counts queues that were found to have claimable messages.
	EventsEmitted uint64
	// Skipped counts queues that a probe could not look into, because they do
	// not exist or, counted in QueueErrors too, for a fault of their own.
	Skipped     uint64
	QueueErrors uint64
	// MissingQueues are the queues that did not exist at the last probe.
	MissingQueues []string
	// Pending is how many events wait to be taken, and Coalesced how many were
	// merged into one that waited.
	Pending   int
	Coalesced uint64

	StartedAt    time.Time
	LastPollAt   time.Time
	NextPollAt   time.Time
	LastErrorAt  time.Time
	LastError    string
	LastProgress time.Time
}

// Stats returns a snapshot.
func (p *FallbackPoller) Stats() PollerStats {
	p.mu.Lock()
	stats := p.stats
	stats.MissingQueues = slices.Clone(stats.MissingQueues)
	p.mu.Unlock()
	stats.Running = p.loop.isRunning()
	stats.Pending, stats.Coalesced = p.inbox.counts()
	stats.LastProgress = p.loop.Last()
	return stats
}
