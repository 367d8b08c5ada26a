package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stephost/stephost/host/processor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// resultsGrace is how long results that a dead process left in the connection
// may take to be read.
const resultsGrace = 2 * time.Second

// stream is one Execute call with its sender and its receiver.
type stream struct {
	rpc         pluginv1.PluginService_ExecuteClient
	cancel      context.CancelCauseFunc
	sendTimeout time.Duration
	inFlight    *atomic.Int64
	counters    *counters

	mu sync.Mutex
	// sinks has every step that this stream owes an answer for; queue, from
	// head on, those of them that have not been sent.
	sinks   map[uint64]processor.Sink
	highest uint64 // id of a step that was ever among them
	queue   []*pluginv1.Step
	head    int
	cancels []*pluginv1.Cancellation
	// given has the steps that the host has given up on; relieved hears of
	// answers while the host has ended its side, or the stream is lent.
	given    map[uint64]struct{}
	relieved chan<- struct{}
	// closing: the host has ended its side. closed: nothing comes back. lent: only
	// suspects' steps are taken.
	closing bool
	closed  bool
	lent    bool

	// wake has room for one signal.
	wake chan struct{}
	// sent is closed when the sender has ended, ended when the receiver has;
	// err is valid then.
	sent  chan struct{}
	ended chan struct{}
	err   error

	routes router
}

func (p *process) openStream() (*stream, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	// Opening waits for the connection only, but that may be gone by now.
	opening := time.AfterFunc(p.spec.Timeouts.Health, func() { cancel(errors.New("the stream could not be opened in time")) })
	rpc, err := p.api.Execute(ctx)
	opening.Stop()
	if err != nil {
		cancel(err)
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	s := &stream{
		rpc: rpc, cancel: cancel, sendTimeout: p.spec.Timeouts.Send,
		inFlight: &p.inFlight, counters: p.counters,
		sinks: make(map[uint64]processor.Sink), relieved: p.relieved,
		wake:  make(chan struct{}, 1),
		sent:  make(chan struct{}),
		ended: make(chan struct{}),
	}
	go s.send()
	go s.receive()
	return s, nil
}

// push queues steps. It reports whether the stream takes any; rejected are
// those among them whose ids are in flight already.
func (s *stream) push(steps []*pluginv1.Step, sink processor.Sink) (rejected []uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || s.closed {
		return nil, false
	}
	if _, apart := sink.(*group); s.lent && !apart {
		return nil, false
	}
	for _, step := range steps {
		// Ids mostly ascend, and a new one need not be looked for.
		if id := step.GetId(); id > s.highest {
			s.highest = id
		} else if _, taken := s.sinks[id]; taken {
			rejected = append(rejected, id)
			continue
		}
		s.sinks[step.GetId()] = sink
		s.queue = append(s.queue, step)
	}
	s.inFlight.Add(int64(len(steps) - len(rejected)))
	s.signal()
	return rejected, true
}

func (s *stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// receive takes outcomes until the stream ends.
func (s *stream) receive() {
	defer close(s.ended)
	for {
		resp, err := s.rpc.Recv()
		if err != nil {
			s.err = err
			// The sender has nobody to send to.
			s.cancel(err)
			return
		}
		s.routes.deliver(s, resp)
	}
}

// failure is what was wrong with the end of the stream; ended must be closed.
func (s *stream) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.closing && errors.Is(s.err, io.EOF)
	switch {
	case asked && len(s.sinks) == 0, s.closed:
		return nil
	case asked:
		return fmt.Errorf("it was asked to drain and ended a stream with %d steps unanswered", len(s.sinks))
	case errors.Is(s.err, io.EOF):
		return fmt.Errorf("it ended a stream that the host had not ended, with %d steps unanswered", len(s.sinks))
	}
	if cause := context.Cause(s.rpc.Context()); cause != nil && !errors.Is(cause, context.Canceled) {
		return explainBroken(cause)
	}
	return explainBroken(s.err)
}

// drain gives back what has not been sent and ends the host's side.
func (s *stream) drain() {
	s.mu.Lock()
	s.closing = true
	unsent := s.takeUnsent()
	s.mu.Unlock()
	s.signal()
	for sink, ids := range unsent {
		sink.Returned(ids)
	}
}

// takeUnsent forgets the queue; s.mu is held.
func (s *stream) takeUnsent() map[processor.Sink][]uint64 {
	unsent := make(map[processor.Sink][]uint64)
	for _, step := range s.queue[s.head:] {
		id := step.GetId()
		if sink, ok := s.sinks[id]; ok {
			unsent[sink] = append(unsent[sink], id)
			delete(s.sinks, id)
			s.inFlight.Add(-1)
		}
	}
	clear(s.queue)
	s.queue, s.head = s.queue[:0], 0
	return unsent
}

// join ends the stream and waits for its goroutines. What a dead process has
// answered is delivered first.
func (s *stream) join() {
	grace := time.AfterFunc(resultsGrace, func() { s.cancel(context.Canceled) })
	<-s.ended
	grace.Stop()
	s.cancel(context.Canceled)
	<-s.sent
}

// stranded is what a joined stream leaves, by sink.
type stranded struct {
	unsent, lost map[processor.Sink][]uint64
	// count is how many are lost: their handlers may have run.
	count int
}

// forsake closes a joined stream and takes all that is left of it.
func (s *stream) forsake() stranded {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	left := stranded{unsent: s.takeUnsent(), count: len(s.sinks)}
	left.lost = make(map[processor.Sink][]uint64)
	for id, sink := range s.sinks {
		left.lost[sink] = append(left.lost[sink], id)
	}
	s.inFlight.Add(-int64(len(s.sinks)))
	clear(s.sinks)
	return left
}

// giveBack hands the steps back to those that dispatched them.
func (left stranded) giveBack(why error) {
	for sink, ids := range left.unsent {
		sink.Returned(ids)
	}
	for sink, ids := range left.lost {
		sink.Lost(ids, why)
	}
}
