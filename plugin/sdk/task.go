package sdk

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// task is one step in this process, and the context that its handler gets: the
// embedded context carries cancellation and deadline, Value adds the task.
// That saves an allocation for each step.
type task struct {
	context.Context
	cancel  context.CancelCauseFunc
	step    *pluginv1.Step
	handler *handler
	stream  *stream

	mu        sync.Mutex
	ended     bool
	emits     []*pluginv1.Emit
	emitBytes int
	logger    hclog.Logger // made on first use

	// beat is the latest progress that has not been sent; guarded by the
	// outbox.
	beat     *pluginv1.Heartbeat
	answered bool // guarded by the outbox
}

// taskKey finds the task among a context's values.
type taskKey struct{}

func newTask(st *stream, step *pluginv1.Step) *task {
	t := &task{step: step, stream: st}
	t.Context, t.cancel = context.WithCancelCause(context.Background())
	return t
}

// Value returns the task for its key, and else what the embedded context has.
func (t *task) Value(key any) any {
	if _, ok := key.(taskKey); ok {
		return t
	}
	return t.Context.Value(key)
}

// taskFrom returns the task that a context belongs to, or nil.
func taskFrom(ctx context.Context) *task {
	t, _ := ctx.Value(taskKey{}).(*task)
	return t
}

// run calls the handler and answers the step, whatever the handler does.
func (t *task) run() {
	started := time.Now()
	stopTimer := t.startTimer(started)
	r := &invocation{task: t, started: started}
	// Not in line: runtime.Goexit in a handler runs deferred calls only.
	defer func() {
		// The result first, since it depends on how the context stands. Then
		// our own cause, which stopping the timer would not give.
		result := r.result(recover())
		t.cancel(errStepEnded)
		stopTimer()
		t.stream.finish(t, result)
	}()
	r.output, r.err = t.handler.fn(t, t.step.GetInput())
	r.returned = true
}

// startTimer gives the context its deadline, if the step has one.
func (t *task) startTimer(now time.Time) context.CancelFunc {
	if t.stream.svc.untimed {
		return func() {}
	}
	timeout := time.Duration(t.step.GetTimeoutMs()) * time.Millisecond
	if own := t.handler.timeout; own > 0 && (timeout <= 0 || own < timeout) {
		timeout = own
	}
	if timeout <= 0 {
		return func() {}
	}
	inner, stop := context.WithDeadlineCause(t.Context, now.Add(timeout), ErrTimeout)
	t.Context = inner
	return stop
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
