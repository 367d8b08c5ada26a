package queues

import "time"

// Notification is what a source of work tells the event system: an Event, a
// HealthUpdate or a ConfigUpdate.
type Notification interface{ notification() }

// HealthUpdate says that a source has become able or unable to find work. Only
// changes are reported, and of several that nobody has taken yet only the
// last.
type HealthUpdate struct {
	// Component is "listener", "poller" or "safety sweep".
	Component string
	Healthy   bool
	// Reason says why it is not healthy.
	Reason string
	At     time.Time
}

// ConfigUpdateType is what has changed about the queues.
type ConfigUpdateType int

// The types.
const (
	// QueueAdded: a queue of this host has come to exist.
	QueueAdded ConfigUpdateType = iota
	// QueueRemoved: a queue of this host does not exist, or no longer.
	QueueRemoved
)

// String returns the type as logs name it.
func (t ConfigUpdateType) String() string {
	if t == QueueRemoved {
		return "queue_removed"
	}
	return "queue_added"
}

// ConfigUpdate says that a queue of this host came or went. Only the last
// update of a queue is kept until it is taken.
type ConfigUpdate struct {
	Type  ConfigUpdateType
	Queue string
	At    time.Time
}

func (Event) notification()        {}
func (HealthUpdate) notification() {}
func (ConfigUpdate) notification() {}
