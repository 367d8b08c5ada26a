package processor

import pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"

// cancellations are steps to cancel, by the executor that has them. While a
// plugin is being swapped, a lane's steps are with two.
type cancellations map[Executor][]uint64

// add takes a running entry in; its lane's mutex is held.
func (c cancellations) add(e *entry) { c[e.exec] = append(c[e.exec], e.id) }

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
