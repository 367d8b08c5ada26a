package sdk

import (
	"context"
	"errors"
	"time"
)

// These are the reasons for which a step's context ends before its handler
// returns. context.Cause(ctx) tells which; a handler that stops for one of
// them simply returns an error.
var (
	// ErrTimeout means that the step's time is up. The attempt has failed.
	ErrTimeout = errors.New("step timed out")
	// ErrLeaseLost means that another host may run the message by now, so that
	// this outcome may be void.
	ErrLeaseLost = errors.New("lease on the message was lost")
	// ErrDraining means that the host is stopping and cannot wait any longer.
	// The message runs again later.
	ErrDraining = errors.New("host is draining")
	// ErrCancelled means that somebody asked to stop this step.
	ErrCancelled = errors.New("step was cancelled")
)

// errStepEnded ends the context of every step that has been answered.
var errStepEnded = errors.New("step has ended")

// Info tells a handler what it is running.
type Info struct {
	// Namespace and Step are what the message was routed by; Step names the
	// handler.
	Namespace string
	Step      string
	// Queue and MessageID say where the message is.
	Queue     string
	MessageID int64
	// Attempt is 1 for the first attempt. Only failures count: deliveries that
	// were snoozed, drained or lost do not.
	Attempt int
	// EnqueuedAt is when the message entered the queue, by the database's
	// clock.
	EnqueuedAt time.Time
	// Deadline is when the step times out; zero if it does not.
	Deadline time.Time
	// IdempotencyKey is the same for every delivery of the message, also after
	// it has been through the dead letters. Pass it to systems that support
	// one, since a handler may run more than once.
	IdempotencyKey string
	// TaskUUID, StepUUID and CorrelationID are copied from the message's
	// fields of that name; often empty.
	TaskUUID      string
	StepUUID      string
	CorrelationID string
}

// StepInfo returns what is known about the step that ctx belongs to, or the
// zero Info outside a step.
func StepInfo(ctx context.Context) Info {
	t := taskFrom(ctx)
	if t == nil {
		return Info{}
	}
	s := t.step
	info := Info{
		Namespace:      s.GetNamespace(),
		Step:           s.GetStep(),
		Queue:          s.GetQueue(),
		MessageID:      s.GetMessageId(),
		Attempt:        int(s.GetAttempt()),
		IdempotencyKey: s.GetIdempotencyKey(),
		TaskUUID:       s.GetTaskUuid(),
		StepUUID:       s.GetStepUuid(),
		CorrelationID:  s.GetCorrelationId(),
	}
	if us := s.GetEnqueuedAtUs(); us != 0 {
		info.EnqueuedAt = time.UnixMicro(us)
	}
	info.Deadline, _ = t.Deadline()
	return info
}
