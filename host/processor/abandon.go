package processor

import (
	"fmt"
	"strings"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// HungHandlerError is a handler that has been told to stop and has not.
type HungHandlerError struct {
	Plugin, Namespace, Step string
	MessageID               int64
	// Reason is why it was told to stop, Ignored for how long it has not obeyed.
	Reason  pluginv1.CancelReason
	Ignored time.Duration
}

func (e *HungHandlerError) Error() string {
	return fmt.Sprintf("handler %q has ignored its cancellation (%s) for %v, with message %d of namespace %q",
		e.Step, reasonName(e.Reason), e.Ignored.Round(time.Millisecond), e.MessageID, e.Namespace)
}

// reasonName is like "lease lost".
func reasonName(r pluginv1.CancelReason) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(r.String(), "CANCEL_REASON_"), "_", " "))
}

// bystander is implemented by causes of a loss that are none of the lost steps'
// doing.
type bystander interface{ Bystander() bool }

// abandonment is a step that the host has given up on, with its executor.
type abandonment struct {
	exec Executor
	id   uint64
	hung *HungHandlerError
}

// abandonAll tells the executors; no lock is held.
func abandonAll(steps []abandonment) {
	for _, a := range steps {
		a.exec.Abandon([]uint64{a.id}, a.hung)
	}
}

// abandon decides about a handler that ignores its cancellation; l.mu is held.
func (l *lane) abandon(e *entry, now time.Time) abandonment {
	hung := l.reportHung(e, now)
	if e.cancelled == pluginv1.CancelReason_CANCEL_REASON_TIMEOUT {
		e.duration = now.Sub(e.deadline) + e.timeout
		l.decide.fail(e, failure{
			kind: "timeout", after: -1,
			message: "the step ran longer than its timeout of " + e.timeout.String() + " and its handler ignored the cancellation",
		}, now)
	} else {
		l.decide.release(e, "the handler ignored its cancellation")
	}
	return hung
}

// reportHung names a handler that ignores its cancellation; l.mu is held.
func (l *lane) reportHung(e *entry, now time.Time) abandonment {
	hung := &HungHandlerError{
		Plugin: l.ns.Plugin, Namespace: l.name, Step: e.stepName(), MessageID: e.lease.ID,
		Reason: e.cancelled, Ignored: now.Sub(e.cancelledAt),
	}
	l.metrics.abandoned.Inc()
	l.log.Error("a handler ignores its cancelled context; the host stops waiting for it", "plugin", hung.Plugin,
		"step", hung.Step, "message_id", hung.MessageID, "reason", reasonName(hung.Reason), "ignored_for", hung.Ignored)
	return abandonment{exec: e.exec, id: e.id, hung: hung}
}
