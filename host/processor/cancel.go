package processor

import pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"

// cancellations are steps to cancel, by the executor that has them. While a
// plugin is being swapped, a lane's steps are with two.
type cancellations map[Executor][]uint64

// cancelling takes a running entry in; l.mu is held.
func (l *lane) cancelling(c cancellations, e *entry) {
	c[e.exec] = append(c[e.exec], e.id)
	l.cancelled.Add(1)
}

// dispatch hands begun steps to an executor. before is l.cancelled from before
// they were begun: an executor ignores the cancellation of a step that it has
// not been given yet, so those that came too early are sent again.
func (l *lane) dispatch(to Executor, steps []*pluginv1.Step, before uint64) {
	to.Dispatch(steps, l)
	if l.cancelled.Load() == before {
		return
	}
	early := make(map[pluginv1.CancelReason][]uint64)
	l.mu.Lock()
	for _, s := range steps {
		if e, ok := l.entries[s.GetId()]; ok && e.state == running && e.exec == to &&
			e.cancelled != pluginv1.CancelReason_CANCEL_REASON_UNSPECIFIED {
			early[e.cancelled] = append(early[e.cancelled], e.id)
		}
	}
	l.mu.Unlock()
	for reason, ids := range early {
		to.Cancel(ids, reason)
	}
}

func (c cancellations) steps() (n int) {
	for _, ids := range c {
		n += len(ids)
	}
	return n
}

// send passes them on; no lock is held.
func (c cancellations) send(reason pluginv1.CancelReason) {
	for exec, ids := range c {
		exec.Cancel(ids, reason)
	}
}
