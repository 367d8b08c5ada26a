package queues

import "time"

// EventKind is what an event reports.
type EventKind int

// The kinds. The seed calls the first one StepMessage.
const (
	// EventUnknown is a notification that could not be understood; Payload has
	// its text, bounded.
	EventUnknown EventKind = iota
	// EventStepReady says that a queue may have messages to claim.
	EventStepReady
	// EventQueueCreated says that a queue was created.
	EventQueueCreated
)

// String returns the kind as metrics and logs name it.
func (k EventKind) String() string {
	switch k {
	case EventStepReady:
		return "step_ready"
	case EventQueueCreated:
		return "queue_created"
	default:
		return "unknown"
	}
}

// Source is who found the work.
type Source int

// The sources.
const (
	SourceNotification Source = iota
	SourcePoll
	SourceSweep
)

// String returns the source as metrics and logs name it.
func (s Source) String() string {
	switch s {
	case SourcePoll:
		return "poll"
	case SourceSweep:
		return "sweep"
	default:
		return "notification"
	}
}

// Event is a hint that a queue has work. It is never a claim: the message that
// it names may be gone, leased or not yet visible.
type Event struct {
	Kind   EventKind
	Source Source
	Queue  string
	// MessageID is the message that the notification named, or 0.
	MessageID int64
	// Count is how many messages the event speaks for, at least; coalesced
	// events add up.
	Count int
	// Delay is how long until the message becomes visible.
	Delay time.Duration
	// ReceivedAt is the host's clock when the event came in; only differences
	// are used.
	ReceivedAt time.Time
	// Payload is what an EventUnknown said, at most 256 bytes of it.
	Payload string
}
