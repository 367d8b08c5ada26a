package queues

import "time"

// ListenerStats is a snapshot of a listener. Counters run for the listener's
// whole life, across stops and starts.
type ListenerStats struct {
	Running bool
	// Connected means that the connection is up and has been verified.
	Connected bool
	// Queues is how many queues the connection listens for.
	Queues int
	// EventsReceived counts everything that arrived: StepEvents for queues of
	// this host, Malformed, Foreign for queues of others, and created queues.
	EventsReceived uint64
	StepEvents     uint64
	Malformed      uint64
	Foreign        uint64
	// Connects counts proven connections; ConnectionErrors the attempts and
	// connections that failed.
	Connects         uint64
	ConnectionErrors uint64
	// Pending is how many events wait to be taken, and Coalesced how many were
	// merged into one that waited.
	Pending   int
	Coalesced uint64

	StartedAt    time.Time
	LastEventAt  time.Time
	LastErrorAt  time.Time
	LastError    string
	LastProgress time.Time
}

// Reconnects is how many connections followed the first one.
func (s ListenerStats) Reconnects() uint64 { return max(s.Connects, 1) - 1 }

// Stats returns a snapshot.
func (l *Listener) Stats() ListenerStats {
	l.mu.Lock()
	stats := l.stats
	stats.Queues = len(l.set.names)
	l.mu.Unlock()
	stats.Running = l.loop.isRunning()
	stats.Pending, stats.Coalesced = l.inbox.counts()
	stats.LastProgress = l.loop.Last()
	return stats
}
