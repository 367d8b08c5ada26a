package processor

import (
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// redirection passes steps that a draining plugin has returned on to the one
// that owns the namespace by now. They are claimed and have not started, so a
// swap costs them neither a trip through the database nor their place in the
// queue, which a message that is given back loses.
type redirection struct {
	lane   *lane
	looked bool
	to     laneExecutor
	before uint64 // l.cancelled when it looked
	steps  []*pluginv1.Step
}

// take passes a running entry on, if that is possible; a suspect must not run
// beside others. The lane's mutex is held.
func (r *redirection) take(e *entry) bool {
	l := r.lane
	if e.cancelled != pluginv1.CancelReason_CANCEL_REASON_UNSPECIFIED || l.stopped || e.apart() {
		return false
	}
	if !r.looked {
		r.looked, r.before = true, l.cancelled.Load()
		if exec, ok := l.opts.Registry.Executor(l.name); ok {
			r.to = laneExecutor{Executor: exec, ExecutorState: exec.State()}
		}
	}
	if !r.to.Ready || r.to.Executor == e.exec || !r.to.resolves(e) {
		return false
	}
	e.exec = r.to.Executor
	e.timeout = l.timeout(r.to.ExecutorState)
	e.startClock(l.opts.Now())
	e.sent.TimeoutMs = e.timeout.Milliseconds()
	r.steps = append(r.steps, e.sent)
	return true
}

// resolves tells whether a message means the same handler here.
func (x laneExecutor) resolves(e *entry) bool {
	if e.fields.step == "" {
		return x.Default == e.step
	}
	_, known := x.Steps[e.step]
	return known
}

// dispatch sends what was taken; no lock is held.
func (r *redirection) dispatch() {
	if len(r.steps) > 0 {
		r.lane.dispatch(r.to.Executor, r.steps, r.before)
	}
}
