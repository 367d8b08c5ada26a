package supervisor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

const (
	// batchSteps closes a batch. Beyond it a stream gets no faster.
	batchSteps = protocol.MaxBatchSteps / 2
	// stepOverhead is what a step occupies beside its body, about.
	stepOverhead = 256
)

// send passes batches on. It batches naturally: what comes while a Send is in
// flight travels together in the next one.
func (s *stream) send() {
	defer close(s.sent)
	stuck := time.AfterFunc(s.sendTimeout, func() {
		s.cancel(fmt.Errorf("it took nothing from its stream for %v", s.sendTimeout))
	})
	stuck.Stop()
	for {
		select {
		case <-s.wake:
		case <-s.rpc.Context().Done():
			return
		}
		for {
			req, more := s.take()
			if req == nil {
				if !more {
					_ = s.rpc.CloseSend()
					return
				}
				break
			}
			stuck.Reset(s.sendTimeout)
			err := s.rpc.Send(req)
			stuck.Stop()
			if err != nil {
				// The receiver learns why.
				return
			}
		}
	}
}

// take returns the next batch, or nil, and whether more may come.
func (s *stream) take() (req *pluginv1.ExecuteRequest, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.queue[s.head:]
	n := batchLen(waiting)
	if n == 0 && len(s.cancels) == 0 {
		return nil, !s.closing
	}
	// A copy: the queue is filled again while the batch is being sent.
	req = &pluginv1.ExecuteRequest{Steps: append([]*pluginv1.Step(nil), waiting[:n]...), Cancellations: s.cancels}
	s.cancels = nil
	clear(waiting[:n])
	if s.head += n; s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
	}
	return req, true
}

// batchLen returns how many steps travel in one message: at least one, and
// else as many as fit.
func batchLen(steps []*pluginv1.Step) int {
	bytes := 0
	for i, step := range steps {
		if i == batchSteps {
			return i
		}
		bytes += stepOverhead + len(step.GetInput())
		if bytes > protocol.MaxBatchBytes && i > 0 {
			return i
		}
	}
	return len(steps)
}

// stop cancels those of the steps that this stream has. A step that has not
// been sent is returned. After a half-close nothing can be sent any more; the
// cancellations are handed back for another stream.
func (s *stream) stop(ids []uint64, reason pluginv1.CancelReason) (elsewhere []*pluginv1.Cancellation) {
	s.mu.Lock()
	var known map[uint64]struct{}
	for _, id := range ids {
		if _, ok := s.sinks[id]; ok {
			if known == nil {
				known = make(map[uint64]struct{}, len(ids))
			}
			known[id] = struct{}{}
		}
	}
	if len(known) == 0 || s.closed {
		s.mu.Unlock()
		return nil
	}
	unsent := s.withdraw(known)
	cancels := make([]*pluginv1.Cancellation, 0, len(known))
	for id := range known {
		cancels = append(cancels, &pluginv1.Cancellation{Id: id, Reason: reason})
	}
	s.relieve()
	if s.closing {
		elsewhere = cancels
	} else {
		s.cancels = append(s.cancels, cancels...)
		s.signal()
	}
	s.mu.Unlock()
	for sink, ids := range unsent {
		sink.Returned(ids)
	}
	return elsewhere
}

// withdraw takes those of the ids out of the queue, and out of the set, that
// have not been sent; s.mu is held.
func (s *stream) withdraw(ids map[uint64]struct{}) map[processor.Sink][]uint64 {
	unsent := make(map[processor.Sink][]uint64)
	kept := s.queue[:s.head]
	for _, step := range s.queue[s.head:] {
		id := step.GetId()
		if _, stop := ids[id]; !stop {
			kept = append(kept, step)
			continue
		}
		delete(ids, id)
		if sink, ok := s.sinks[id]; ok {
			unsent[sink] = append(unsent[sink], id)
			delete(s.sinks, id)
			s.inFlight.Add(-1)
		}
	}
	clear(s.queue[len(kept):])
	s.queue = kept
	return unsent
}

// insistEvery is how often a cancellation is sent that may have overtaken its
// step.
const insistEvery = 500 * time.Millisecond

// cancelApart carries cancellations on a stream of their own, for steps whose
// stream the host has ended. Steps that are still under way on that are unknown to
// the plugin, which ignores the cancellation: so it is sent again until they have
// come back.
func (p *process) cancelApart(cancels []*pluginv1.Cancellation) {
	again := time.NewTicker(insistEvery)
	defer again.Stop()
	for len(cancels) > 0 {
		p.sendApart(cancels)
		select {
		case <-again.C:
		case <-p.life.Done():
			return
		}
		cancels = slices.DeleteFunc(cancels, func(c *pluginv1.Cancellation) bool {
			return !p.small.owes(c.GetId()) && !p.large.owes(c.GetId())
		})
	}
}

// owes tells whether the step has not come back.
func (s *stream) owes(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, owed := s.sinks[id]
	return owed
}

func (p *process) sendApart(cancels []*pluginv1.Cancellation) {
	ctx, done := context.WithTimeout(p.life, p.spec.Timeouts.Health)
	defer done()
	rpc, err := p.api.Execute(ctx)
	if err != nil {
		return
	}
	if err := rpc.Send(&pluginv1.ExecuteRequest{Cancellations: cancels}); err != nil {
		return
	}
	_ = rpc.CloseSend()
	// It ends the stream, and what it says on it answers nothing.
	for err == nil {
		_, err = rpc.Recv()
	}
}
