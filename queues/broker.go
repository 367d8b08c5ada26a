package queues

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ClaimRequest asks for messages of one queue.
type ClaimRequest struct {
	Queue string
	// Limit is the most messages to claim; it must be positive.
	Limit int
	// Lease is how long the messages stay invisible to others.
	Lease time.Duration
	// ID, when positive, claims that message alone, if it is visible.
	ID int64
	// Sweep looks at every visible message, also those that became visible
	// before the newest one that was claimed (a transaction that committed late).
	// Without it the broker may start where the last claim ended. A broker that
	// finds this costly may put it off: see SweepDue.
	Sweep bool
}

// QueueState is what a probe learns about one queue.
type QueueState struct {
	Queue string
	// Missing means that there is no such queue.
	Missing bool
	// Visible means that at least one message can be claimed now.
	Visible bool
	// OldestWait is how long the oldest claimable message has been visible.
	OldestWait time.Duration
	// NextDue is when the next invisible message becomes visible; negative
	// means that there is none.
	NextDue time.Duration
	// Err is a fault of this queue alone.
	Err error
}

// Prober tells which queues have work, in few queries.
type Prober interface {
	// Probe returns one state for each name, in the order given. The error is
	// for a database that cannot be asked at all.
	Probe(ctx context.Context, queues []string) ([]QueueState, error)
}

// Subscriber opens the one notification connection of a host.
type Subscriber interface {
	// Subscribe listens for all the queues on one connection and returns after
	// the server has confirmed it. A queue need not exist yet.
	Subscribe(ctx context.Context, queues []string) (Subscription, error)
}

// Subscription is a live notification connection. It is not for concurrent
// use, but Close may be called at any time.
type Subscription interface {
	// Receive waits for the next event. An error that is not ctx's means that
	// the connection is gone.
	Receive(ctx context.Context) (Event, error)
	// Verify sends a notification through the server to this connection and
	// waits until it has come back. Events that arrive meanwhile are kept for
	// Receive. It finds a pooler that swallows LISTEN.
	Verify(ctx context.Context) error
	// Listen replaces the queues that are listened for and returns after the
	// server has confirmed it. Nothing is missed of a queue that was listened
	// for before and still is.
	Listen(ctx context.Context, queues []string) error
	Close() error
}

// Broker is the queue store as the host's hot path needs it. All methods are
// safe for concurrent use, and every one returns when ctx ends.
type Broker interface {
	Prober
	Subscriber

	// Claim leases visible messages and returns them sorted by id. A lease
	// runs from before the call: count its end from the moment you called.
	Claim(ctx context.Context, req ClaimRequest) ([]Delivery, error)
	// SweepDue tells after how long to claim with Sweep, when the last claim of the
	// queue got less than its limit without having looked at every visible message.
	SweepDue(queue string) (in time.Duration, due bool)

	// LookAhead tells of one queue what Probe does, in less time: it trusts what
	// the broker knows of the queue since it last claimed from it.
	LookAhead(ctx context.Context, queue string) (QueueState, error)

	// BodySize and Body fetch a deferred body. ok is false when the lease is
	// lost.
	BodySize(ctx context.Context, lease Lease) (size int64, ok bool, err error)
	Body(ctx context.Context, lease Lease) (body []byte, ok bool, err error)

	// Extend prolongs leases of one queue to end d from now. The statuses are
	// in the order of the leases.
	Extend(ctx context.Context, queue string, leases []Lease, d time.Duration) ([]ExtendStatus, error)

	// Settle ends leases of one queue. The results are in the order of the
	// batch; a member that the database refuses fails alone.
	Settle(ctx context.Context, queue string, batch []Settlement) []SettleResult

	// Exists tells whether a queue can be sent to. Answers may be cached for a
	// few seconds.
	Exists(ctx context.Context, queue string) (bool, error)

	// Incarnation changes when the broker has connected to a server that was
	// started anew since; leases must then be asserted again.
	Incarnation() uint64

	// Ping tells whether the database answers.
	Ping(ctx context.Context) error
}

// ErrQueueMissing is wrapped by errors about a queue that does not exist.
var ErrQueueMissing = errors.New("queue does not exist")

// MissingQueueError says which queue does not exist. It is an
// ErrQueueMissing.
type MissingQueueError struct{ Queue string }

func (e *MissingQueueError) Error() string {
	name := Text(e.Queue, 2*maxName)
	// The tables of a queue are named in lower case, however the queue is written.
	if CheckName(strings.ToLower(e.Queue)) == nil {
		return fmt.Sprintf("queue %q does not exist: create it with `stephost queue create %s`", name, strings.ToLower(e.Queue))
	}
	return fmt.Sprintf("queue %q does not exist, and `stephost queue create` makes none of that name: %v", name, ErrName)
}

// Unwrap makes errors.Is(err, ErrQueueMissing) true.
func (e *MissingQueueError) Unwrap() error { return ErrQueueMissing }
