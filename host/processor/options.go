package processor

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stephost/stephost/queues"
)

// Namespace is what a lane needs to know of a namespace.
type Namespace struct {
	Name  string
	Queue string
	// Plugin owns the namespace; for the records of dead letters.
	Plugin string
	// Concurrency is the most steps in flight on this host.
	Concurrency int
	// Timeout bounds one execution of a handler; 0 means no bound.
	Timeout time.Duration
	// StepKey is the message member that names the step.
	StepKey string
	// ResultQueue gets one result for each message; empty means none.
	ResultQueue string
	DeadLetter  string
	Retry       RetryPolicy
}

// Registry finds the plugin of a namespace. The answer may change between
// calls.
type Registry interface {
	Executor(namespace string) (Executor, bool)
}

// Limits bound the work of a host. They can be changed while it runs.
type Limits struct {
	// MaxConcurrent bounds the steps in flight on this host, all namespaces
	// together.
	MaxConcurrent int
	// BatchSize is the most messages that one claim takes.
	BatchSize int
	// BatchProcessing false claims one message at a time, by its id where the
	// notification has one.
	BatchProcessing bool
	// Lease is how long a claim hides a message; running steps extend it.
	Lease time.Duration
	// SettlementBuffer bounds the outcomes of one namespace that wait to be
	// settled; when it is full, no further claim is made.
	SettlementBuffer int
	// Bytes bounds the message bodies that are held at once.
	Bytes int64
	// KillTimeout is how long a cancelled step may go on before the host stops
	// waiting for it.
	KillTimeout time.Duration
}

// Options are the parts and limits of a Processor. All fields without a
// default are required.
type Options struct {
	Broker   queues.Broker
	Registry Registry
	// Namespaces are those at first; Apply changes them.
	Namespaces []Namespace

	// Limits are those at first; Apply changes them.
	Limits
	// MaxBody is the largest body that a plugin can be sent; larger messages
	// are dead-lettered.
	MaxBody int64
	// WorkerID names this host in results.
	WorkerID string

	// QueueOf returns the queue of a namespace that steps emit to.
	QueueOf func(namespace string) (queue string, ok bool)
	// Idle is called when a hint of work from that source ended a lane's
	// idleness, with the time from the hint's receipt to the lane's claim.
	Idle func(source queues.Source, latency time.Duration)
	// Rescheduled is called when a message of the queue was given back to be
	// due after the delay.
	Rescheduled func(queue string, delay time.Duration)
	// OnStep observes steps; it must be quick. May be nil.
	OnStep func(StepEvent)

	Metrics *Metrics
	Logger  hclog.Logger
	// Now is the host's monotonic clock; nil means time.Now.
	Now func() time.Time
}

// StepEventKind is a moment in a step's life.
type StepEventKind int

// The moments.
const (
	StepPickedUp StepEventKind = iota
	StepSettled
)

// StepEvent tells an observer about one step.
type StepEvent struct {
	Kind      StepEventKind
	Namespace string
	Step      string
	MessageID int64
	Attempt   int
	// Waited is how long the message had been visible when it was claimed.
	Waited time.Duration
	// The rest is set on StepSettled. StartedAt is when the handler started, by
	// this machine's clock, or zero; Duration is the time in the handler; Total
	// the time from claim to committed settlement.
	Outcome   Outcome
	StartedAt time.Time
	Duration  time.Duration
	Total     time.Duration
	Err       string
}

// Outcome is how a delivery ended.
type Outcome string

// The outcomes.
const (
	OutcomeSucceeded    Outcome = "succeeded"
	OutcomeRetried      Outcome = "retried"
	OutcomeSnoozed      Outcome = "snoozed"
	OutcomeReleased     Outcome = "released"
	OutcomeDeadLettered Outcome = "dead_lettered"
	OutcomeLeaseLost    Outcome = "lease_lost"
)

// Outcomes lists all outcomes.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeSucceeded, OutcomeRetried, OutcomeSnoozed, OutcomeReleased,
		OutcomeDeadLettered, OutcomeLeaseLost,
	}
}
