package processor

import (
	"errors"
	"fmt"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// failure is one failed execution, wherever it was noticed.
type failure struct {
	kind    string // error type
	message string
	stack   string
	// permanent is the reason to dead-letter now; empty leaves it to the policy.
	permanent queues.DeadReason
	// spent is the reason that the dead letter gets when the policy gives up;
	// empty means attempts_spent.
	spent queues.DeadReason
	// after is the delay that wins over the policy's; negative means none.
	after time.Duration
}

// decider turns outcomes into settlements by a namespace's policy. It has no
// state.
type decider struct {
	ns       Namespace
	workerID string
	queueOf  func(namespace string) (string, bool)
}

// result decides what a plugin's result means for the message.
func (d decider) result(e *entry, res *pluginv1.Result, now time.Time) {
	e.duration = time.Duration(res.GetDurationUs()) * time.Microsecond
	if started := res.GetStartedAtUs(); started > 0 {
		e.started = time.UnixMicro(started)
	}
	switch outcome := res.GetOutcome().(type) {
	case *pluginv1.Result_Success:
		d.succeed(e, outcome.Success, now)
	case *pluginv1.Result_Failure:
		d.failed(e, outcome.Failure, now)
	case *pluginv1.Result_Snooze:
		delay := delayOf(outcome.Snooze.GetDelayMs())
		e.outcome = OutcomeSnoozed
		e.action = queues.Retry{Delay: delay, Record: e.cleared()}
	case *pluginv1.Result_NotAccepted:
		d.release(e, outcome.NotAccepted.GetReason())
	default:
		d.fail(e, failure{
			kind: "protocol", after: -1,
			message: "the plugin answered without an outcome",
		}, now)
	}
}

func (d decider) succeed(e *entry, success *pluginv1.Success, now time.Time) {
	if !oneValue(success.GetOutput()) {
		d.fail(e, failure{kind: "result", message: "the plugin's result is not a JSON value", after: -1}, now)
		return
	}
	emits := success.GetEmits()
	e.outcome = OutcomeSucceeded
	if len(emits) == 0 && d.ns.ResultQueue == "" {
		e.action = queues.Complete{}
		return
	}
	send := make([]queues.Outgoing, 0, len(emits)+1)
	for _, emit := range emits {
		out, err := d.outgoing(emit)
		if err != nil {
			d.fail(e, failure{kind: "emit", message: err.Error(), after: -1}, now)
			return
		}
		send = append(send, out)
	}
	if d.ns.ResultQueue != "" {
		res := result{entry: e, success: true, status: statusCompleted, output: success.GetOutput()}
		send = append(send, queues.Outgoing{
			Queue: d.ns.ResultQueue,
			Body:  res.encode(d.ns.Name, d.workerID, now),
		})
	}
	e.action = queues.Complete{Send: send}
}

func (d decider) outgoing(emit *pluginv1.Emit) (queues.Outgoing, error) {
	out := queues.Outgoing{
		Body:    emit.GetBody(),
		Headers: emit.GetHeaders(),
		Delay:   delayOf(emit.GetDelayMs()),
	}
	switch target := emit.GetTarget().(type) {
	case *pluginv1.Emit_Queue:
		out.Queue = target.Queue
	case *pluginv1.Emit_Namespace:
		queue, ok := d.queueOf(target.Namespace)
		if !ok {
			return out, fmt.Errorf("emit to namespace %q: this host has no such namespace; emit to a queue by name instead", target.Namespace)
		}
		out.Queue = queue
	}
	if out.Queue == "" {
		return out, errors.New("emit names neither a queue nor a namespace")
	}
	if kind := kindOf(out.Headers); len(out.Headers) > 0 && kind != "an object" {
		return out, fmt.Errorf("emit to queue %q: the message's headers are %s: they must be a JSON object", queues.Text(out.Queue, maxStepInMessage), kind)
	}
	return out, nil
}

func (d decider) failed(e *entry, f *pluginv1.Failure, now time.Time) {
	// A handler that was told to stop for a reason that is not its own, and
	// stopped, has not failed.
	switch e.cancelled {
	case pluginv1.CancelReason_CANCEL_REASON_LEASE_LOST, pluginv1.CancelReason_CANCEL_REASON_DRAINING:
		d.release(e, f.GetMessage())
		return
	default:
	}
	fail := failure{kind: f.GetType(), message: f.GetMessage(), stack: f.GetStack(), after: -1}
	switch f.GetVerdict() {
	case pluginv1.FailureVerdict_FAILURE_VERDICT_PERMANENT:
		fail.permanent = queues.DeadPermanent
	case pluginv1.FailureVerdict_FAILURE_VERDICT_RETRY_AFTER:
		fail.after = delayOf(f.GetRetryAfterMs())
	default:
	}
	d.fail(e, fail, now)
}

// longestDelay is as good as never, and far from what a duration or a timestamp
// cannot hold.
const longestDelay = 100 * 365 * 24 * time.Hour

// delayOf is a plugin's delay, whatever number it has sent.
func delayOf(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), longestDelay.Milliseconds())) * time.Millisecond
}

// fail spends the failure budget and retries or dead-letters.
func (d decider) fail(e *entry, f failure, now time.Time) {
	record := e.cleared()
	attempt := e.attempt()
	record.Failures++
	record = record.AddError(queues.ErrorEntry{
		At: e.databaseTime(now), Attempt: attempt,
		Type: f.kind, Message: f.message, Stack: f.stack,
	})
	e.errText = f.message
	switch {
	case f.permanent != "":
		d.dead(e, record, f, f.permanent, statusFailed, now)
	case record.Failures >= d.ns.Retry.MaxAttempts:
		reason := f.spent
		if reason == "" {
			reason = queues.DeadAttemptsSpent
		}
		d.dead(e, record, f, reason, statusFailed, now)
	default:
		delay := f.after
		if delay < 0 {
			delay = d.ns.Retry.next(record.Failures)
		}
		e.outcome = OutcomeRetried
		e.action = queues.Retry{Delay: delay, Record: record}
	}
}

// maxErrorType bounds the type of an error in a result, in bytes.
const maxErrorType = 256

// dead moves the message to the dead letters with its one failure result.
func (d decider) dead(e *entry, record queues.Record, f failure, reason queues.DeadReason, status string, now time.Time) {
	record.Dead = &queues.Dead{
		Reason: reason, Error: queues.Text(f.message, 2<<10),
		Namespace: d.ns.Name, Plugin: d.ns.Plugin, Step: queues.Text(e.stepName(), maxStepInMessage), Deliveries: e.lease.Epoch,
	}
	origin := e.origin()
	record.Origin = &origin
	var send []queues.Outgoing
	if d.ns.ResultQueue != "" {
		res := result{
			entry: e, status: status, errType: queues.Text(f.kind, maxErrorType),
			errText: queues.Text(f.message, 16<<10), stack: queues.Text(f.stack, 16<<10),
		}
		send = []queues.Outgoing{{
			Queue: d.ns.ResultQueue,
			Body:  res.encode(d.ns.Name, d.workerID, now),
		}}
	}
	e.outcome = OutcomeDeadLettered
	e.errText = f.message
	e.action = queues.DeadLetter{Queue: d.ns.DeadLetter, Record: record, Send: send}
}

// unreadable dead-letters a message whose headers are too large to be looked
// into: without its bookkeeping nobody would know how often it has failed.
func (d decider) unreadable(e *entry, now time.Time) {
	d.fail(e, failure{
		kind: "headers_too_large", permanent: queues.DeadHeadersTooLarge,
		message: "the message's headers are too large to be looked into: put what is large into the body",
	}, now)
}

// spent dead-letters a message that has been delivered too often without any
// outcome: it kills plugins or hosts.
func (d decider) spent(e *entry, deliveries int, now time.Time) {
	message := fmt.Sprintf("%d deliveries ended without any outcome", deliveries)
	if n := len(e.record.Errors); n > 0 {
		message += "; the last one: " + e.record.Errors[n-1].Message
	}
	record := e.accounted()
	d.dead(e, record, failure{kind: "deliveries_spent", message: message}, queues.DeadDeliveriesSpent, statusError, now)
}

// release gives the message back at no cost.
func (d decider) release(e *entry, why string) {
	e.outcome = OutcomeReleased
	e.errText = why
	e.action = queues.Release{Record: e.accounted()}
}

// postpone gives the message back for a while, at no cost.
func (d decider) postpone(e *entry, why string, delay time.Duration) {
	e.outcome = OutcomeReleased
	e.errText = why
	e.action = queues.Retry{Delay: delay, Record: e.accounted()}
}

// crash is implemented by the causes of a loss that are a crash of the process.
type crash interface {
	// Alone tells whether a single step was with the process.
	Alone() bool
	// Trace is what the process wrote last, the trace of a panic at best.
	Trace() string
}

// lost gives a message back whose plugin ended under it. After a crash it is a
// suspect, which costs nothing: its neighbours are, too. A message that was
// alone with the process has crashed it; that is counted up to max_crashes. A
// step that was lost through no doing of its own spends nothing either. What is
// not known to be one or the other counts towards max_deliveries.
func (d decider) lost(e *entry, cause error, now time.Time) {
	var other bystander
	if errors.As(cause, &other) && other.Bystander() {
		d.release(e, cause.Error())
		return
	}
	entry := queues.ErrorEntry{
		At: e.databaseTime(now), Attempt: e.attempt(),
		Type: "plugin_lost", Message: cause.Error(),
	}
	e.outcome = OutcomeReleased
	e.errText = cause.Error()
	var crash crash
	if !errors.As(cause, &crash) {
		e.action = queues.Release{Record: e.unaccounted().AddError(entry)}
		return
	}
	record := e.accounted()
	record.Suspicion++
	if crash.Alone() {
		record.Suspicion = max(record.Suspicion, aloneLevel)
	}
	// The last of a group is no proof: those before it had the process, too.
	if !crash.Alone() || e.group > 1 {
		e.action = queues.Release{Record: record.AddError(entry)}
		return
	}
	entry.Type, entry.Stack = "plugin_crash", crash.Trace()
	record = record.AddError(entry)
	record.Crashes++
	if record.Crashes < d.ns.Retry.MaxCrashes {
		e.action = queues.Release{Record: record}
		return
	}
	message := fmt.Sprintf("the message crashed the plugin %d times while it ran alone; the last time: %v", record.Crashes, cause)
	d.dead(e, record, failure{kind: entry.Type, message: message, stack: entry.Stack}, queues.DeadCrashes, statusError, now)
}

// refused replaces a settlement that the database will never take.
func (d decider) refused(e *entry, cause error, now time.Time) {
	why := fmt.Sprintf("the database refused to settle the step: %v", cause)
	switch e.action.(type) {
	case queues.Complete:
		d.fail(e, failure{
			kind: "settlement_refused", message: why, after: -1, spent: queues.DeadRefused,
		}, now)
	default:
		// The message itself must not get lost for the sake of what goes with it:
		// give it back, later and later, until the fault is mended.
		delay := d.ns.Retry.next(max(e.settled.refusals, 1))
		e.outcome = OutcomeReleased
		e.errText = why
		e.action = queues.Retry{Delay: max(delay, time.Second), Record: e.accounted()}
	}
}
