package sdk

import (
	"context"
	"errors"
	"math"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// errNoStep is returned where a context does not belong to a step.
var errNoStep = errors.New("context does not belong to a step")

// Progress is how far a step is.
type Progress struct {
	// Fraction is between 0 and 1; anything else means unknown.
	Fraction float64
	// Message is for people.
	Message string
}

// Heartbeat tells the host that the step is alive and how far it is. It never
// blocks; of several reports in quick succession the last one is sent. Steps
// need not call it to keep their lease, the host sees to that. It returns the
// cause when the step's context has ended, so that a loop can stop on it.
func Heartbeat(ctx context.Context, p Progress) error {
	t := taskFrom(ctx)
	if t == nil {
		return errNoStep
	}
	if t.Err() != nil {
		return context.Cause(t)
	}
	if math.IsNaN(p.Fraction) || p.Fraction < 0 || p.Fraction > 1 {
		p.Fraction = -1
	}
	t.stream.out.beat(t, &pluginv1.Heartbeat{
		Id:       t.step.GetId(),
		Fraction: p.Fraction,
		Message:  cleanText(p.Message, maxNameBytes),
	})
	return nil
}
