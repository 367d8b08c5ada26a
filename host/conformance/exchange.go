package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// stragglers is how long a stream is listened to after a clause has what it
// wants, for answers that should not come.
const stragglers = 300 * time.Millisecond

// exchange is one Execute stream. All that comes is examined.
type exchange struct {
	kit    *kit
	rpc    pluginv1.PluginService_ExecuteClient
	cancel context.CancelFunc

	mu      sync.Mutex
	owed    map[uint64]*pluginv1.Step
	results map[uint64]*pluginv1.Result
	beats   int
	changed chan struct{}

	// ended is closed when the plugin's side has; err is valid then.
	ended chan struct{}
	err   error
}

// exchange opens a stream; the caller closes it.
func (k *kit) exchange(ctx context.Context, p *process) (*exchange, error) {
	ctx, cancel := context.WithCancel(ctx)
	opening := time.AfterFunc(k.opts.Patience, cancel)
	rpc, err := p.Client().Execute(ctx)
	opening.Stop()
	if err != nil {
		cancel()
		return nil, violated("an Execute stream that opens", say(err), "")
	}
	k.audit.declares(p.described)
	x := &exchange{
		kit: k, rpc: rpc, cancel: cancel,
		owed: map[uint64]*pluginv1.Step{}, results: map[uint64]*pluginv1.Result{},
		changed: make(chan struct{}), ended: make(chan struct{}),
	}
	go x.receive()
	return x, nil
}

func (x *exchange) receive() {
	defer close(x.ended)
	for {
		resp, err := x.rpc.Recv()
		if err != nil {
			x.err = err
			return
		}
		x.mu.Lock()
		for _, beat := range resp.GetHeartbeats() {
			x.kit.audit.heartbeat(beat, x.owed[beat.GetId()] != nil)
			x.beats++
		}
		for _, r := range resp.GetResults() {
			step := x.owed[r.GetId()]
			delete(x.owed, r.GetId())
			_, again := x.results[r.GetId()]
			x.kit.audit.result(r, step, again)
			x.results[r.GetId()] = r
		}
		close(x.changed)
		x.changed = make(chan struct{})
		x.mu.Unlock()
	}
}

// send hands steps and cancellations over.
func (x *exchange) send(req *pluginv1.ExecuteRequest) error {
	x.mu.Lock()
	for _, s := range req.GetSteps() {
		x.owed[s.GetId()] = s
	}
	x.mu.Unlock()
	slow := time.AfterFunc(x.kit.opts.Patience, x.cancel)
	defer slow.Stop()
	if err := x.rpc.Send(req); err != nil && !errors.Is(err, io.EOF) {
		return violated("a plugin that reads its stream", say(err), "")
	}
	return nil
}

func (x *exchange) steps(steps ...*pluginv1.Step) error {
	return x.send(&pluginv1.ExecuteRequest{Steps: steps})
}

func (x *exchange) cancelStep(id uint64, reason pluginv1.CancelReason) error {
	return x.send(&pluginv1.ExecuteRequest{Cancellations: []*pluginv1.Cancellation{{Id: id, Reason: reason}}})
}

// await waits until all steps that were sent are answered, for as long as the
// steps may run and the kit's patience beyond that.
func (x *exchange) await(ctx context.Context) error {
	return x.awaitFor(ctx, sampleTimeout+x.kit.opts.Patience)
}

func (x *exchange) awaitFor(ctx context.Context, limit time.Duration) error {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for {
		x.mu.Lock()
		left, changed := len(x.owed), x.changed
		x.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-changed:
			continue
		case <-x.ended:
			if x.left() == 0 {
				return nil
			}
			return violated("one Result for every step", fmt.Sprintf("the stream ended (%s) with %d steps unanswered", sayEnd(x.err), x.left()),
				"a stream lasts until the host half-closes it, and answers every step before it ends")
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return violated("one Result for every step", fmt.Sprintf("%d steps without one after %v", left, limit),
				"answer every step exactly once, on the stream that it came on")
		}
	}
}

func (x *exchange) left() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.owed)
}

func (x *exchange) answer(s *pluginv1.Step) *pluginv1.Result {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.results[s.GetId()]
}

// run sends steps and waits for their results.
func (x *exchange) run(ctx context.Context, steps ...*pluginv1.Step) error {
	if err := x.steps(steps...); err != nil {
		return err
	}
	return x.await(ctx)
}

// halfClose ends the host's side.
func (x *exchange) halfClose() { _ = x.rpc.CloseSend() }

// awaitEnd waits for the end of the plugin's side and demands that it is a
// good one.
func (x *exchange) awaitEnd(ctx context.Context) error {
	const hint = "when the host half-closes, answer what is left and return from Execute with status OK"
	timeout := time.NewTimer(sampleTimeout + x.kit.opts.Patience)
	defer timeout.Stop()
	select {
	case <-x.ended:
		if !errors.Is(x.err, io.EOF) {
			return violated("a stream that ends with status OK", sayEnd(x.err), hint)
		}
		if n := x.left(); n > 0 {
			return violated("every step answered before the stream ends", fmt.Sprintf("%d steps without a Result", n), hint)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		return violated("the plugin ends the stream after the host has half-closed it", "it stays open", hint)
	}
}

// close listens a little longer and ends the stream.
func (x *exchange) close() {
	x.halfClose()
	select {
	case <-x.ended:
	case <-time.After(stragglers):
	}
	x.reset()
}

// reset breaks the stream and joins its receiver.
func (x *exchange) reset() {
	x.cancel()
	<-x.ended
}

func sayEnd(err error) string {
	if errors.Is(err, io.EOF) {
		return "status OK"
	}
	return say(err)
}
