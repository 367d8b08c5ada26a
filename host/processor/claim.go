package processor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// The deadlines of single database calls.
const (
	claimTimeout  = 10 * time.Second
	settleTimeout = 30 * time.Second
)

// claim reserves slots, claims into them and dispatches. It reports whether
// looking again at once makes sense.
func (l *lane) claim(ctx context.Context, exec laneExecutor, why look) (again bool) {
	l.mu.Lock()
	room, ahead := l.room(exec.ExecutorState)
	l.mu.Unlock()
	reserved := 0
	if room > 0 {
		reserved = l.slots.reserve(l.share, room)
	}
	limit := reserved + ahead
	if limit == 0 {
		// Whoever frees a slot wakes the lane.
		l.mu.Lock()
		l.hunger.putBack(why)
		slots, places := l.room(exec.ExecutorState)
		again = slots > 0 && room == 0 || places > 0
		l.mu.Unlock()
		return again
	}

	now := l.opts.Now()
	lease := l.limits().Lease
	deliveries, err := l.read(ctx, why, limit, lease)
	if err != nil {
		l.slots.release(l.share, reserved, false)
		l.claimFailed(ctx, why, err)
		return false
	}
	if why.hinted && len(deliveries) > 0 && l.opts.Idle != nil {
		l.opts.Idle(why.source, l.opts.Now().Sub(why.since))
	}
	l.metrics.claimed.Observe(float64(len(deliveries)))
	l.mu.Lock()
	l.ahead.paced(now, l.opts.Now())
	l.mu.Unlock()

	before := l.cancelled.Load()
	steps, kept := l.admit(deliveries, exec, leaseTerm{now, lease}, reserved)
	l.slots.release(l.share, reserved-kept, len(deliveries) == 0)
	if len(steps) > 0 {
		l.dispatch(exec.Executor, steps, before)
	}
	// Where all handlers ended during the claim nobody else serves what it has
	// brought, and what follows may wait for the database.
	l.serve()

	full := len(deliveries) == limit
	l.mu.Lock()
	l.worked(claiming)
	if full {
		l.hunger.full(why)
	} else {
		l.hunger.short(l.opts.Now(), len(deliveries) > 0)
		if in, due := l.opts.Broker.SweepDue(l.queue); due {
			l.hunger.sweepIn(l.opts.Now(), in)
		}
	}
	l.mu.Unlock()
	if !full && why.ahead {
		l.lookAhead(ctx, len(deliveries) > 0)
	}
	return true
}

// read claims up to limit messages.
func (l *lane) read(ctx context.Context, why look, limit int, lease time.Duration) ([]queues.Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	req := queues.ClaimRequest{Queue: l.queue, Limit: limit, Lease: lease, Sweep: why.sweep}
	if !l.limits().BatchProcessing && why.messageID > 0 {
		req.ID = why.messageID
		deliveries, err := l.opts.Broker.Claim(ctx, req)
		if err != nil || len(deliveries) > 0 {
			return deliveries, err
		}
		// Somebody else has that one, or it is gone: take any.
		req.ID = 0
	}
	return l.opts.Broker.Claim(ctx, req)
}

// claimFailed plans the next look after an error.
func (l *lane) claimFailed(ctx context.Context, why look, err error) {
	if ctx.Err() != nil {
		return
	}
	l.metrics.claimFault.Inc()
	delay := time.Second
	if errors.Is(err, queues.ErrQueueMissing) {
		delay = 2 * time.Second
	}
	delay += rand.N(delay / 4)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.opts.Now()
	l.hunger.failed(why, now, delay)
	l.failed(claiming, err, now, "in", delay)
}

// lookAhead learns when the next message of the queue is due, so that the lane
// wakes for it in every mode. found tells whether the claim before it got any.
func (l *lane) lookAhead(ctx context.Context, found bool) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	state, err := l.opts.Broker.LookAhead(ctx, l.queue)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.opts.Now()
	if state.Visible {
		l.hunger.overlooked(now, found)
	}
	if state.NextDue >= 0 {
		l.hunger.dueIn(now, state.NextDue)
	}
}

// admit makes entries of deliveries; those beyond the reserved slots wait for
// one. It returns the steps to dispatch and how many of the slots are in use.
func (l *lane) admit(deliveries []queues.Delivery, exec laneExecutor, claimed leaseTerm, reserved int) (steps []*pluginv1.Step, kept int) {
	if len(deliveries) == 0 {
		return nil, 0
	}
	var bytes int64
	steps = make([]*pluginv1.Step, 0, len(deliveries))
	l.mu.Lock()
	now := l.opts.Now()
	for i := range deliveries {
		d := &deliveries[i]
		if e, ok := l.inHand(d.ID); ok && e.isRedelivered(d) {
			l.adopt(e, d, claimed)
			continue
		}
		e := l.newEntry(d, claimed)
		l.metrics.waited.Observe(d.Waited.Seconds())
		bytes += e.bytes
		apart := e.mustWait(exec.ExecutorState)
		switch {
		case l.stopped:
			// The claim was under way. Who drains may have cancelled already all that
			// is to be cancelled.
			l.decide.release(e, "the namespace starts nothing any more")
			l.enqueue(e)
		case d.HeadersTooLarge:
			l.decide.unreadable(e, now)
			l.enqueue(e)
		case kept == reserved && l.paused:
			l.decide.release(e, "the namespace is paused")
			l.enqueue(e)
		case d.Deferred && kept == reserved:
			l.ahead.add(e, now)
		case d.Deferred:
			e.state, e.slot = fetching, true
			kept++
			l.fetches = append(l.fetches, e)
		case !l.prepare(e, d.Body, exec.ExecutorState), apart && !l.park(e):
			l.enqueue(e)
		case !apart && kept == reserved && !l.ahead.fits(e.bytes, l.limits().Bytes):
			// Bodies have become larger than those that the pace was learnt with.
			l.ahead.forget()
			l.decide.release(e, "bodies that wait for slots hold as many bytes as they may")
			l.enqueue(e)
		case !apart && kept == reserved:
			l.ahead.add(e, now)
		case !apart:
			e.slot = true
			l.begin(e, exec.Executor, now)
			steps = append(steps, e.sent)
			kept++
		}
	}
	l.running += kept
	l.startFetches()
	l.metrics.running.set(l.running)
	l.mu.Unlock()
	l.budget.add(bytes)
	if claimed.length != l.limits().Lease {
		l.assertLeases() // the keeper goes by another length by now
	}
	if kept < len(deliveries) {
		poke(l.kick)
	}
	if l.opts.OnStep != nil {
		l.announce(steps)
	}
	return steps, kept
}

func (l *lane) newEntry(d *queues.Delivery, claimed leaseTerm) *entry {
	e := &entry{
		id:        l.nextID.Add(1),
		lease:     d.Lease,
		term:      claimed,
		claimedAt: d.ClaimedAt,
		claimCall: claimed.start,
		waited:    d.Waited,
		record:    d.Record,
		bytes:     int64(len(d.Body)),
	}
	l.entries[e.id] = e
	l.byMessage[d.ID] = e
	l.highest = max(l.highest, d.ID)
	return e
}

// inHand returns the entry of a message, if there is one; l.mu is held. Most
// messages are newer than all before them, which costs no look into the map.
func (l *lane) inHand(messageID int64) (e *entry, ok bool) {
	if messageID <= l.highest {
		e, ok = l.byMessage[messageID]
	}
	return e, ok
}

// adopt gives an entry the newer lease of a redelivery, so that what runs
// already is not run twice. l.mu is held.
func (l *lane) adopt(e *entry, d *queues.Delivery, claimed leaseTerm) {
	l.metrics.adopted.Inc()
	l.log.Warn("a message was redelivered while it still runs here; the execution goes on under the new lease",
		"message_id", d.ID, "epoch", d.Epoch)
	e.renew(d, claimed)
	if e.sent != nil && (e.state == suspected || e.state == prefetched) { // its handler is still to be told
		e.sent.Attempt = uint32(e.attempt()) //nolint:gosec // a count of failures
	}
}

// prepare makes the step of an entry whose body is here. It reports false when
// there is nothing to run and the entry is decided already. l.mu is held.
func (l *lane) prepare(e *entry, body []byte, state ExecutorState) bool {
	if lost := int(e.lease.Epoch-e.record.Accounted) - 1; lost >= l.ns.Retry.MaxDeliveries {
		l.decide.spent(e, lost, l.opts.Now())
		return false
	}
	if bad := l.check(e, body, state); bad != nil {
		l.decide.fail(e, *bad, l.opts.Now())
		return false
	}
	e.timeout = l.timeout(state)
	e.sent = &pluginv1.Step{
		Id:             e.id,
		Namespace:      l.name,
		Step:           e.step,
		Input:          body,
		Queue:          e.lease.Queue,
		MessageId:      e.lease.ID,
		Attempt:        uint32(e.attempt()), //nolint:gosec // a count of failures
		TimeoutMs:      e.timeout.Milliseconds(),
		EnqueuedAtUs:   e.lease.EnqueuedAt.UnixMicro(),
		IdempotencyKey: e.origin().IdempotencyKey(),
		TaskUuid:       e.fields.taskUUID,
		StepUuid:       e.fields.stepUUID,
		CorrelationId:  e.fields.correlationID,
	}
	return true
}

// begin notes that a prepared entry is being dispatched to exec; l.mu is held.
func (l *lane) begin(e *entry, exec Executor, now time.Time) {
	e.state, e.exec = running, exec
	e.startClock(now)
}

// timeout is for a step that is being dispatched; l.mu is held.
func (l *lane) timeout(to ExecutorState) time.Duration {
	if to.Untimed {
		return 0
	}
	return l.ns.Timeout
}

// maxStepInMessage is how much of an unknown step's name is repeated, in bytes.
const maxStepInMessage = 100

// check reads the body and resolves the handler; l.mu is held.
func (l *lane) check(e *entry, body []byte, state ExecutorState) *failure {
	if body == nil {
		return &failure{
			kind: string(queues.DeadNotAnObject), permanent: queues.DeadNotAnObject,
			message: "the message has no body (SQL NULL): a step's message is a JSON object",
		}
	}
	fields, ok := parseFields(body, l.ns.StepKey)
	e.fields = fields
	if !ok {
		return &failure{
			kind: string(queues.DeadNotAnObject), permanent: queues.DeadNotAnObject,
			message: "the message body is " + kindOf(body) + ": a step's message is a JSON object",
		}
	}
	if l.opts.MaxBody > 0 && int64(len(body)) > l.opts.MaxBody {
		return tooLarge(int64(len(body)), l.opts.MaxBody)
	}
	if fields.notAName != "" {
		return &failure{
			kind: string(queues.DeadUnknownStep), permanent: queues.DeadUnknownStep,
			message: fmt.Sprintf("the message's field %q is %s: it names the step, so it must be a string; where the field means something else, set step_key of the namespace",
				l.ns.StepKey, fields.notAName),
		}
	}
	if fields.step == "" {
		if state.Default != "" {
			e.step = state.Default
			return nil
		}
		return &failure{
			kind: string(queues.DeadUnknownStep), after: -1, spent: queues.DeadUnknownStep,
			message: fmt.Sprintf("the message names no step (field %q) and the plugin has no default handler", l.ns.StepKey),
		}
	}
	if _, known := state.Steps[fields.step]; !known {
		return &failure{
			kind: string(queues.DeadUnknownStep), after: -1, spent: queues.DeadUnknownStep,
			message: fmt.Sprintf("the plugin has no handler for step %q", queues.Text(fields.step, maxStepInMessage)),
		}
	}
	e.step = fields.step
	return nil
}

// announce tells the observer which steps were picked up.
func (l *lane) announce(steps []*pluginv1.Step) {
	for _, s := range steps {
		l.mu.Lock()
		e, ok := l.entries[s.GetId()]
		var waited time.Duration
		if ok {
			waited = e.waited
		}
		l.mu.Unlock()
		l.opts.OnStep(StepEvent{
			Kind: StepPickedUp, Namespace: l.name, Step: s.GetStep(),
			MessageID: s.GetMessageId(), Attempt: int(s.GetAttempt()), Waited: waited,
		})
	}
}
