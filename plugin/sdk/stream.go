package sdk

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// errHostGone ends a stream that broke instead of being drained.
var errHostGone = fmt.Errorf("%w: the host's stream has ended", ErrLeaseLost)

// stream is one Execute call. One goroutine receives, one sends, and a crew
// runs the steps.
type stream struct {
	svc    *service
	plugin *Plugin
	slots  *slots
	out    *outbox
	crew   crew
	// unanswered counts the steps that have been admitted on this stream.
	unanswered sync.WaitGroup

	// Scratch space of the receiving goroutine.
	batch  []*task
	became []admission
	ready  []*task
}

func newStream(svc *service, ready *readyPlugin) *stream {
	out := newOutbox()
	return &stream{svc: svc, plugin: ready.Plugin, slots: ready.slots, out: out, crew: crew{out: out}}
}

// shareTasks is how many tasks of a batch have an allocation together: one that
// runs for long holds on to the others, but not to their inputs.
const shareTasks = 16

// serve runs the stream to its end: the host's half-close, or a broken
// connection.
func (st *stream) serve(rpc pluginv1.PluginService_ExecuteServer) error {
	sent := make(chan error, 1)
	go func() { sent <- st.out.run(rpc.Send) }()

	err := st.receive(rpc)
	reason := "plugin is draining"
	if err != nil {
		reason = "stream has ended"
		st.slots.cancelStream(st, errHostGone)
	}
	for _, t := range st.slots.withdraw(st) {
		st.refuse(t, reason)
	}
	st.unanswered.Wait()
	st.out.close()
	return errors.Join(err, <-sent)
}

// receive takes steps in until the host half-closes the stream.
func (st *stream) receive(rpc pluginv1.PluginService_ExecuteServer) error {
	for {
		req, err := rpc.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := st.accept(req.GetSteps()); err != nil {
			return err
		}
		for _, c := range req.GetCancellations() {
			if t := st.slots.cancel(c.GetId(), cancelCause(c.GetReason())); t != nil {
				t.stream.refuse(t, "cancelled before it started")
			}
		}
	}
}

// accept starts the steps of a batch, or queues or refuses them.
func (st *stream) accept(steps []*pluginv1.Step) error {
	st.batch, st.became = st.batch[:0], st.became[:0]
	var room []task
	for n, step := range steps {
		handler := st.plugin.handlerFor(step.GetStep())
		if handler == nil {
			st.out.answer(nil, st.unknownStep(step))
			st.out.flush()
			continue
		}
		if len(room) == 0 {
			room = make([]task, min(shareTasks, len(steps)-n))
		}
		t := &room[0]
		room = room[1:]
		t.step, t.handler, t.stream = step, handler, st
		st.batch = append(st.batch, t)
	}
	st.unanswered.Add(len(st.batch))
	st.became = st.slots.admit(st.batch, st.became)
	var err error
	for i, t := range st.batch {
		switch st.became[i] {
		case started:
			st.ready = append(st.ready, t)
		case overflows:
			st.refuse(t, "plugin is at its max_concurrency")
		case duplicates:
			st.unanswered.Done()
			err = status.Errorf(codes.InvalidArgument, "step id %d is in flight already", t.step.GetId())
		}
	}
	st.crew.start(st.ready...)
	clear(st.batch)
	clear(st.ready)
	st.ready = st.ready[:0]
	return err
}

// finish answers a step that has run and lets the next one that waits run in
// its place. The crew has the answer sent.
func (st *stream) finish(t *task, r *pluginv1.Result) {
	// Released first: once the host has the answer, the id may come again.
	next := st.slots.release(t)
	st.out.answer(t, r)
	if next != nil {
		next.stream.crew.start(next)
	}
	st.unanswered.Done()
}

// refuse answers a step that never ran.
func (st *stream) refuse(t *task, reason string) {
	t.takeInput()
	t.cancel(errStepEnded)
	st.out.answer(t, notAccepted(t.step.GetId(), reason))
	st.out.flush()
	st.unanswered.Done()
}

// unknownStep answers a step without a handler. The host resolves steps
// against the plugin's description, so this is a host of another opinion.
func (st *stream) unknownStep(step *pluginv1.Step) *pluginv1.Result {
	r := failed(&pluginv1.Failure{
		Type:    protocol.FailureUnknownStep,
		Message: fmt.Sprintf("plugin has no handler for step %q", step.GetStep()),
	})
	r.Id = step.GetId()
	return r
}

// cancelCause translates the host's reason into what context.Cause returns.
func cancelCause(reason pluginv1.CancelReason) error {
	switch reason {
	case pluginv1.CancelReason_CANCEL_REASON_LEASE_LOST:
		return ErrLeaseLost
	case pluginv1.CancelReason_CANCEL_REASON_TIMEOUT:
		return ErrTimeout
	case pluginv1.CancelReason_CANCEL_REASON_DRAINING:
		return ErrDraining
	default:
		return ErrCancelled
	}
}
