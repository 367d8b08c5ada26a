package eventsystem

import (
	"context"

	"github.com/stephost/stephost/queues"
)

// Commander acts on work that the event system has heard of. The host's
// command processor implements it. Both calls return once the lane of the
// queue has taken notice (it will claim as soon as it has a free slot); they
// do not wait for a claim, a handler or a settlement.
type Commander interface {
	// ExecuteStepFromEvent is the event path: a notification named the queue
	// and maybe a message.
	ExecuteStepFromEvent(ctx context.Context, event queues.Event) error
	// ExecuteStep is the poll path: a probe saw claimable messages.
	ExecuteStep(ctx context.Context, event queues.Event) error
}
