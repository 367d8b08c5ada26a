package bench

import (
	"context"
	"fmt"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"

	"github.com/stephost/stephost/host/supervisor"
)

// Boundary is what a step costs for leaving the host's process and coming
// back, the database left out.
type Boundary struct {
	Steps int `json:"steps"`
	// Alone is the round trip of a step with nothing else in flight.
	Alone Quantiles `json:"alone"`
	// Loaded is the time per step with all slots in flight.
	Loaded time.Duration `json:"loaded_ns"`
	Slots  int           `json:"slots"`
}

// alone is how many round trips with one step in flight are measured.
const alone = 2000

func boundary(ctx context.Context, opts Options) (*Boundary, error) {
	result := &Boundary{Steps: opts.Crossings, Slots: opts.Slots}
	err := withPlugin(ctx, opts, func(p *supervisor.Plugin) error {
		c := &crossing{plugin: p, answered: make(chan int, 1024)}
		latencies := make([]time.Duration, 0, alone)
		for range alone {
			began := time.Now()
			if err := c.cross(ctx, 1, 1); err != nil {
				return err
			}
			latencies = append(latencies, time.Since(began))
		}
		result.Alone = quantiles(latencies)
		began := time.Now()
		if err := c.cross(ctx, opts.Crossings, opts.Slots); err != nil {
			return err
		}
		result.Loaded = time.Since(began) / time.Duration(opts.Crossings)
		return nil
	})
	return result, err
}

// crossing sends steps to a plugin as a lane does, and counts what comes back.
type crossing struct {
	plugin   *supervisor.Plugin
	sent     uint64
	answered chan int
}

// cross sends steps with no more than slots of them in flight.
func (c *crossing) cross(ctx context.Context, steps, slots int) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	inFlight := 0
	for sent := 0; sent < steps || inFlight > 0; {
		if n := min(steps-sent, slots-inFlight); n > 0 {
			c.plugin.Dispatch(c.batch(n), c)
			sent += n
			inFlight += n
		}
		select {
		case n := <-c.answered:
			if n < 0 {
				return fmt.Errorf("the plugin gave back %d steps", -n)
			}
			inFlight -= n
		case <-timeout.C:
			return fmt.Errorf("%d of %d steps were not answered within %v", inFlight, steps, patience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (c *crossing) batch(n int) []*pluginv1.Step {
	steps := make([]*pluginv1.Step, n)
	for i := range steps {
		c.sent++
		steps[i] = &pluginv1.Step{
			Id: c.sent, Namespace: namespace, Step: "noop", Queue: queue, MessageId: int64(c.sent), //nolint:gosec // a small count
			Attempt: 1, Input: []byte(`{"n": 1}`),
		}
	}
	return steps
}

// Results implements processor.Sink.
func (c *crossing) Results(results []*pluginv1.Result) { c.answered <- len(results) }

// Heartbeats implements processor.Sink.
func (c *crossing) Heartbeats([]*pluginv1.Heartbeat) {}

// Returned implements processor.Sink.
func (c *crossing) Returned(ids []uint64) { c.answered <- -len(ids) }

// Lost implements processor.Sink.
func (c *crossing) Lost(ids []uint64, _ error) { c.answered <- -len(ids) }
