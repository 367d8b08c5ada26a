package sdktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

type executeClient = grpc.BidiStreamingClient[pluginv1.ExecuteRequest, pluginv1.ExecuteResponse]

// errDraining is returned for a step after Drain or Stop.
var errDraining = errors.New("the host drains: it sends no more steps")

// stream carries the steps of a Host. One goroutine receives; it ends with the
// plugin's side of the stream.
type stream struct {
	client *protocol.Client
	cancel context.CancelFunc

	mu       sync.Mutex // guards sending, too
	rpc      executeClient
	draining bool
	steps    map[uint64]*Step

	insisting sync.WaitGroup // cancellations of steps while the stream drains

	ended chan struct{} // closed when the receiver has ended
	err   error         // why; to be read after ended
}

func openStream(client *protocol.Client) (*stream, error) {
	ctx, cancel := context.WithCancel(context.Background())
	rpc, err := client.Execute(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("execute: %w", err)
	}
	s := &stream{client: client, cancel: cancel, rpc: rpc, steps: map[uint64]*Step{}, ended: make(chan struct{})}
	go s.receive()
	return s, nil
}

// send hands a step to the plugin.
func (s *stream) send(step *Step) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return errDraining
	}
	s.steps[step.wire.GetId()] = step
	return s.rpc.Send(&pluginv1.ExecuteRequest{Steps: []*pluginv1.Step{step.wire}})
}

// sendCancel asks the plugin to stop a step.
func (s *stream) sendCancel(step *Step, reason pluginv1.CancelReason) error {
	request := &pluginv1.ExecuteRequest{Cancellations: []*pluginv1.Cancellation{{Id: step.wire.GetId(), Reason: reason}}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.draining {
		return s.rpc.Send(request)
	}
	s.insisting.Go(func() { s.insist(step, request) })
	return nil
}

// insist cancels a step while the stream drains and can carry nothing more. Any
// other stream may, but may overtake the step, so it is told until the step
// ends.
func (s *stream) insist(step *Step, request *pluginv1.ExecuteRequest) {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	other, err := s.client.Execute(ctx)
	if err != nil {
		return // the plugin is gone, and the step with it
	}
	repeat := time.NewTicker(10 * time.Millisecond)
	defer repeat.Stop()
	for other.Send(request) == nil {
		select {
		case <-repeat.C:
			continue
		case <-step.done:
		case <-step.overdue:
		}
		break
	}
	_ = other.CloseSend()
	for err == nil {
		_, err = other.Recv()
	}
}

// drain half-closes the stream, once.
func (s *stream) drain() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil
	}
	s.draining = true
	return s.rpc.CloseSend()
}

// running are the steps that have not been answered, in order.
func (s *stream) running() []*Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	var running []*Step
	for _, id := range slices.Sorted(maps.Keys(s.steps)) {
		running = append(running, s.steps[id])
	}
	return running
}

// wait waits for the end of a stream that drains, which comes with the answer to
// its last step.
func (s *stream) wait() error {
	<-s.ended
	s.insisting.Wait()
	s.cancel()
	if errors.Is(s.err, io.EOF) {
		return nil
	}
	return s.err
}

func (s *stream) receive() {
	defer close(s.ended)
	for {
		resp, err := s.rpc.Recv()
		if err != nil {
			s.err = err
			for _, step := range s.running() {
				step.lose(err)
			}
			return
		}
		// A heartbeat that travels with its step's result came before it.
		for _, beat := range resp.GetHeartbeats() {
			if step := s.find(beat.GetId(), false); step != nil {
				step.beat(beat)
			}
		}
		for _, r := range resp.GetResults() {
			if step := s.find(r.GetId(), true); step != nil {
				step.finish(r)
			}
		}
	}
}

func (s *stream) find(id uint64, last bool) *Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	step := s.steps[id]
	if last {
		delete(s.steps, id)
	}
	return step
}
