package sdk

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// task is one step in this process, and the context that its handler gets. What
// a context needs is made when the handler first looks at it: many never do.
type task struct {
	step     *pluginv1.Step
	handler  *handler
	stream   *stream
	deadline time.Time // zero: none; set before the handler runs

	mu        sync.Mutex
	ended     bool
	emits     []*pluginv1.Emit
	emitBytes int
	logger    hclog.Logger // made on first use
	// inner is the context that carries cancellation and deadline, once somebody
	// has looked; before that cause is why it has ended.
	inner context.Context
	stop  context.CancelCauseFunc
	cause error

	// beat is the latest progress that has not been sent; guarded by the
	// outbox.
	beat     *pluginv1.Heartbeat
	answered bool // guarded by the outbox
}

var _ context.Context = (*task)(nil)

// taskKey finds the task among a context's values.
type taskKey struct{}

// context returns the context that carries cancellation and deadline.
func (t *task) context() context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inner != nil {
		return t.inner
	}
	t.inner, t.stop = context.WithCancelCause(context.Background())
	if t.cause != nil {
		t.stop(t.cause)
	} else if !t.deadline.IsZero() {
		cancel := t.stop
		inner, stop := context.WithDeadlineCause(t.inner, t.deadline, ErrTimeout)
		// Our own cause first, which stopping the timer would not give.
		t.inner, t.stop = inner, func(cause error) { cancel(cause); stop() }
	}
	return t.inner
}

// Deadline implements context.Context.
func (t *task) Deadline() (time.Time, bool) { return t.deadline, !t.deadline.IsZero() }

// Done implements context.Context.
func (t *task) Done() <-chan struct{} { return t.context().Done() }

// Err implements context.Context.
func (t *task) Err() error { return t.context().Err() }

// Value returns the task for its key, and else what the inner context has.
func (t *task) Value(key any) any {
	if _, ok := key.(taskKey); ok {
		return t
	}
	return t.context().Value(key)
}

// cancel ends the context. The first cause counts.
func (t *task) cancel(cause error) {
	t.mu.Lock()
	if t.cause == nil {
		t.cause = cause
	}
	stop := t.stop
	t.mu.Unlock()
	if stop != nil {
		stop(cause)
	}
}

// taskFrom returns the task that a context belongs to, or nil.
func taskFrom(ctx context.Context) *task {
	t, _ := ctx.Value(taskKey{}).(*task)
	return t
}

// run calls the handler and answers the step, whatever the handler does.
func (t *task) run() {
	started := time.Now()
	t.startClock(started)
	r := &invocation{task: t, started: started}
	// Not in line: runtime.Goexit in a handler runs deferred calls only.
	defer func() {
		// The result first, since it depends on how the context stands.
		result := r.result(recover())
		t.cancel(errStepEnded)
		t.stream.finish(t, result)
	}()
	r.output, r.err = t.handler.fn(t, t.takeInput())
	r.returned = true
}

// takeInput returns the input for the handler alone. Members of a batch share
// allocations: what a step that has ended still pointed to would live as long as
// the slowest of its neighbours.
func (t *task) takeInput() []byte {
	input := t.step.GetInput()
	t.step.Input = nil
	return input
}

// startClock sets the deadline, if the step has one.
func (t *task) startClock(now time.Time) {
	if t.stream.svc.untimed {
		return
	}
	timeout := time.Duration(t.step.GetTimeoutMs()) * time.Millisecond
	if own := t.handler.timeout; own > 0 && (timeout <= 0 || own < timeout) {
		timeout = own
	}
	if timeout > 0 {
		t.deadline = now.Add(timeout)
	}
}

// end closes the task for its handler's leftovers and returns what it emitted.
func (t *task) end() []*pluginv1.Emit {
	t.mu.Lock()
	t.ended = true
	emits := t.emits
	t.emits = nil
	t.mu.Unlock()
	return emits
}
