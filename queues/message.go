package queues

import (
	"encoding/json"
	"time"
)

// Epoch fences a lease. It is pgmq's read_ct: every claim adds one and so does
// every give-back, so a number that was handed out once never comes again for
// the same message, and a settlement that carries an older one finds no row.
type Epoch int32

// Lease is the right to settle one message, for as long as its epoch is the
// message's newest.
type Lease struct {
	Queue string
	ID    int64
	Epoch Epoch
	// EnqueuedAt is a reading of the database's clock. It is part of the lease
	// because ids, and with them epochs, begin again when a queue is dropped and
	// created: an old lease must not settle a new message.
	EnqueuedAt time.Time
}

// Delivery is a message as one claim handed it out.
type Delivery struct {
	Lease

	// ClaimedAt is a reading of the database's clock, for people and results;
	// nothing is scheduled by it.
	ClaimedAt time.Time

	// Waited is how long the message had been visible when it was claimed, by
	// the database's clock.
	Waited time.Duration

	// Body is the message as JSON. It is nil when the message is SQL NULL, and
	// when it is Deferred.
	Body []byte

	// Deferred means that the body is larger than the claim was willing to
	// carry. Fetch it with Broker.Body under a byte budget.
	Deferred bool

	// Size is the body's size in bytes: exact where Body is present. Where it is
	// Deferred it is what is known without reading all of it: the stored (maybe
	// compressed) size, or how much of it was written before it turned out too long.
	Size int64

	// Record is stephost's bookkeeping that travelled with the message.
	Record Record
	// HeadersTooLarge means that the broker did not look into the message's
	// headers, so that the record is not known. Such a message must not be given
	// back: it would never spend its budget.
	HeadersTooLarge bool
}

// Record is stephost's bookkeeping about a message. It travels in the
// message's headers under the key "stephost", or in a side table where the
// queue's table has no headers column. All counts are absolute values: writing
// the same record twice changes nothing.
type Record struct {
	Version int `json:"v"`

	// Failures counts outcomes that spent the failure budget.
	Failures int `json:"failures,omitempty"`

	// Crashes counts crashes of the plugin while this message was alone with the
	// process.
	Crashes int `json:"crashes,omitempty"`

	// Suspicion counts crashes of the plugin while this message was in flight,
	// alone or among others, since it last had an outcome. A suspect runs apart
	// from messages that are none.
	Suspicion int `json:"suspicion,omitempty"`

	// Accounted is the epoch up to which every delivery ended with an outcome
	// or was given back for a reason that is not the message's fault.
	Accounted Epoch `json:"accounted,omitempty"`

	// Errors are the last errors, oldest first, bounded by AddError.
	Errors []ErrorEntry `json:"errors,omitempty"`

	// Origin is set once the message has been moved to another queue.
	Origin *Origin `json:"origin,omitempty"`

	// Dead says why the message is in a dead-letter queue.
	Dead *Dead `json:"dead,omitempty"`

	// Replays counts how often an operator sent the message back.
	Replays int `json:"replays,omitempty"`

	// OriginalHeaders keeps headers that were not a JSON object.
	OriginalHeaders json.RawMessage `json:"headers,omitempty"`
}

// RecordVersion is the version of Record that this code writes.
const RecordVersion = 1

// ErrorEntry is one remembered failure.
type ErrorEntry struct {
	// At is a reading of the database's clock, advanced by the host's
	// monotonic clock.
	At      time.Time `json:"at"`
	Attempt int       `json:"attempt"`
	Type    string    `json:"type,omitempty"`
	Message string    `json:"message"`
	Stack   string    `json:"stack,omitempty"`
}

// Origin is where a moved message was first enqueued. With it the idempotency
// key survives dead-lettering and replay.
type Origin struct {
	Queue      string    `json:"queue"`
	ID         int64     `json:"msg_id"`
	EnqueuedAt time.Time `json:"enqueued_at"`
}

// DeadReason is why a message was dead-lettered, as a stable word.
type DeadReason string

// The reasons.
const (
	DeadPermanent       DeadReason = "permanent"          // the handler said so
	DeadAttemptsSpent   DeadReason = "attempts_spent"     // max_attempts failures
	DeadDeliveriesSpent DeadReason = "deliveries_spent"   // max_deliveries without any outcome
	DeadCrashes         DeadReason = "crashes"            // it crashes the plugin
	DeadNotAnObject     DeadReason = "not_an_object"      // body is not a JSON object, or is NULL
	DeadUnknownStep     DeadReason = "unknown_step"       // no handler of that name
	DeadRefused         DeadReason = "settlement_refused" // the database refuses what would settle it
	DeadHeadersTooLarge DeadReason = "headers_too_large"  // its bookkeeping cannot be read
)

// DeadReasons returns all reasons.
func DeadReasons() []DeadReason {
	return []DeadReason{
		DeadPermanent, DeadAttemptsSpent, DeadDeliveriesSpent, DeadCrashes, DeadNotAnObject, DeadUnknownStep, DeadRefused,
		DeadHeadersTooLarge,
	}
}

// Dead describes a dead-lettering.
type Dead struct {
	Reason    DeadReason `json:"reason"`
	Error     string     `json:"error,omitempty"`
	Namespace string     `json:"namespace,omitempty"`
	Plugin    string     `json:"plugin,omitempty"`
	// Step is the handler that ran, or the name that the message asked for.
	Step string `json:"step,omitempty"`
	// Deliveries is the message's read_ct when it was moved.
	Deliveries Epoch `json:"deliveries"`
	// At is set by the database in the transaction that moves the message.
	At time.Time `json:"at,omitzero"`
}
