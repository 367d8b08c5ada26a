package supervisor

import (
	"context"
	"math"

	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Dispatch implements processor.Executor. Where there are several processes,
// each step goes to the one with the fewest in flight. Sinks must be
// comparable, as pointers are, and ids unique within the plugin.
func (p *Plugin) Dispatch(steps []*pluginv1.Step, sink processor.Sink) {
	p.mu.Lock()
	ready := p.ready
	if !p.snapshot.Ready {
		ready = nil
	}
	p.mu.Unlock()
	switch len(ready) {
	case 0:
		sink.Returned(idsOf(steps))
	case 1:
		ready[0].dispatch(steps, sink)
	default:
		for _, share := range shares(ready, len(steps)) {
			if share.steps > 0 {
				share.proc.dispatch(steps[:share.steps], sink)
				steps = steps[share.steps:]
			}
		}
	}
}

// share is how many of a batch's steps one process gets.
type share struct {
	proc  *process
	steps int
}

// shares levels the processes' loads.
func shares(procs []*process, steps int) []share {
	result := make([]share, len(procs))
	loads := make([]int64, len(procs))
	for n, proc := range procs {
		result[n].proc = proc
		loads[n] = proc.inFlight.Load()
	}
	for range steps {
		least, at := int64(math.MaxInt64), 0
		for n, load := range loads {
			if load < least {
				least, at = load, n
			}
		}
		loads[at]++
		result[at].steps++
	}
	return result
}

// Cancel implements processor.Executor.
func (p *Plugin) Cancel(ids []uint64, reason pluginv1.CancelReason) {
	p.mu.Lock()
	procs := p.processes()
	p.mu.Unlock()
	for _, proc := range procs {
		proc.cancel(ids, reason)
	}
}

// dispatch queues steps on the stream that suits their size.
func (p *process) dispatch(steps []*pluginv1.Step, sink processor.Sink) {
	small, large := steps, []*pluginv1.Step(nil)
	for n, step := range steps {
		if len(step.GetInput()) > protocol.LargeBodyBytes {
			small, large = split(steps, n)
			break
		}
	}
	p.push(p.small, small, sink)
	p.push(p.large, large, sink)
}

// split separates large steps from small ones, of which the first n are known
// to be.
func split(steps []*pluginv1.Step, n int) (small, large []*pluginv1.Step) {
	small = append(make([]*pluginv1.Step, 0, len(steps)), steps[:n]...)
	for _, step := range steps[n:] {
		if len(step.GetInput()) > protocol.LargeBodyBytes {
			large = append(large, step)
		} else {
			small = append(small, step)
		}
	}
	return small, large
}

func (p *process) push(s *stream, steps []*pluginv1.Step, sink processor.Sink) {
	if len(steps) == 0 {
		return
	}
	rejected, ok := s.push(steps, sink)
	if !ok {
		rejected = idsOf(steps)
	}
	if len(rejected) > 0 {
		sink.Returned(rejected)
	}
}

func (p *process) cancel(ids []uint64, reason pluginv1.CancelReason) {
	apart := append(p.small.stop(ids, reason), p.large.stop(ids, reason)...)
	if len(apart) > 0 {
		p.background(func() { p.cancelApart(apart) })
	}
}

// background runs f unless the process is being ended, which joins it.
func (p *process) background(f func()) {
	p.workMu.Lock()
	defer p.workMu.Unlock()
	if p.life.Err() == nil {
		p.work.Go(f)
	}
}

// halfClose begins the drain of the process.
func (p *process) halfClose() {
	p.small.drain()
	p.large.drain()
}

// waitDrained waits until the plugin has answered everything, or is gone.
func (p *process) waitDrained(ctx context.Context) error {
	for _, s := range []*stream{p.small, p.large} {
		select {
		case <-s.ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if s.failure() == nil {
			continue
		}
		// What it owed is lost only once it is buried.
		select {
		case <-p.buried:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func idsOf(steps []*pluginv1.Step) []uint64 {
	ids := make([]uint64, len(steps))
	for n, step := range steps {
		ids[n] = step.GetId()
	}
	return ids
}
