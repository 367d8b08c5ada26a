package eventsystem

import (
	"sync/atomic"
	"time"

	"github.com/stephost/stephost/queues"
)

// WorkerStatistics is a snapshot of a Worker. Counters run for its whole life.
type WorkerStatistics struct {
	// Statistics has events by kind and source. ModeScore is the share of
	// credits that notifications earned.
	Statistics
	Mode      Mode
	StartedAt time.Time
	// Credits counts how often a source ended a lane's idleness.
	Credits Credits
	// HealthUpdates and ConfigUpdates count what the sources told beside events.
	HealthUpdates uint64
	ConfigUpdates uint64
	// NotificationsLost is what subscribers had no room for.
	NotificationsLost uint64
	LastError         string
	LastErrorAt       time.Time

	Listener queues.ListenerStats
	Poller   queues.PollerStats
	Sweep    queues.PollerStats
}

// Credits counts which source found the work that ended the idleness of a
// lane.
type Credits struct{ Notification, Poll, Sweep uint64 }

// Score is the share of notifications, from 0 to 1, and 1 when there are no
// credits: how much of the work would have been found without looking for it.
// A sweep counts as looking.
func (c Credits) Score() float64 {
	all := c.Notification + c.Poll + c.Sweep
	if all == 0 {
		return 1
	}
	return float64(c.Notification) / float64(all)
}

type workerCounts struct {
	notification, poll, sweep    atomic.Uint64
	healthUpdates, configUpdates atomic.Uint64
}

// Credit notes that an event of the source ended a lane's idleness: the lane
// was waiting for work, and this is how it learned of some. The claims that
// follow while work lasts are nobody's merit.
func (w *Worker) Credit(source queues.Source) {
	switch source {
	case queues.SourceNotification:
		w.counts.notification.Add(1)
	case queues.SourcePoll:
		w.counts.poll.Add(1)
	default:
		w.counts.sweep.Add(1)
	}
}

// Statistics returns a snapshot.
func (w *Worker) Statistics() WorkerStatistics {
	s := WorkerStatistics{
		Statistics: w.recorder.Snapshot(),
		Mode:       w.Mode(),
		Credits: Credits{
			Notification: w.counts.notification.Load(),
			Poll:         w.counts.poll.Load(),
			Sweep:        w.counts.sweep.Load(),
		},
		HealthUpdates:     w.counts.healthUpdates.Load(),
		ConfigUpdates:     w.counts.configUpdates.Load(),
		NotificationsLost: w.broadcaster.Lost(),
		Listener:          w.listener.Stats(),
		Poller:            w.poller.Stats(),
		Sweep:             w.sweeper.Stats(),
	}
	s.ModeScore = s.Credits.Score()
	w.mu.Lock()
	defer w.mu.Unlock()
	s.StartedAt, s.LastError, s.LastErrorAt = w.startedAt, w.lastError, w.lastErrAt
	return s
}
