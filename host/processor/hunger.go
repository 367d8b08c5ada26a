package processor

import (
	"time"

	"github.com/stephost/stephost/queues"
)

// hunger is a lane's reasons to look into its queue. It makes an idle lane
// cheap: a freed slot alone is no reason to look when the last claim came back
// short and nobody has said anything since. The lane's mutex guards it.
type hunger struct {
	// more: the last claim was full, so there may be more.
	more bool
	// hinted: somebody said that there is work. The first one counts.
	hinted    bool
	source    queues.Source
	since     time.Time // receipt of the first hint
	messageID int64     // the one message that was named, or 0
	// sweep: look also behind the newest claimed message.
	sweep bool
	// ahead: the next due message is still to be learnt, once the queue is empty.
	ahead bool
	// recheck is the next look after a notification, and recheckStep how many
	// there were since it: triggers are throttled, so silence after a notification
	// proves nothing.
	recheck     time.Time
	recheckStep int
	// sweptAt is when a look last went behind the newest claimed message.
	sweptAt time.Time
	// due is when a delayed message becomes visible, as far as is known.
	due time.Time
	// sweepAt is when the broker wants to be asked for what it put off.
	sweepAt time.Time
	// retryAt delays everything after a failed claim.
	retryAt time.Time
}

// After a notification the lane looks again after 2, 4, 8 … 256 ms, and from the
// start again whenever it finds something. So a throttle of the producers'
// trigger costs little while messages flow, and nothing half a second later.
const (
	firstRecheck = 2 * time.Millisecond
	rechecks     = 8
	// sweepEvery is how often the looks after a notification also find messages
	// of transactions that committed late.
	sweepEvery = 200 * time.Millisecond
)

// look is one reason to claim.
type look struct {
	source    queues.Source
	hinted    bool
	since     time.Time
	messageID int64
	sweep     bool
	// ahead asks for the next due message when the look finds nothing.
	ahead bool
}

// feed adds a hint.
func (h *hunger) feed(event queues.Event) {
	if !h.hinted {
		h.hinted, h.source, h.since, h.messageID = true, event.Source, event.ReceivedAt, event.MessageID
	} else if event.MessageID != h.messageID {
		h.messageID = 0
	}
	if event.Source == queues.SourceNotification {
		h.recheckStep = 0
	} else {
		h.sweep = true
	}
}

// dueIn notes a message that becomes visible after the delay.
func (h *hunger) dueIn(now time.Time, delay time.Duration) {
	at := now.Add(delay)
	if h.due.IsZero() || at.Before(h.due) {
		h.due = at
	}
}

// sweepIn notes that the last claim has put off looking behind the newest claimed
// message, and until when.
func (h *hunger) sweepIn(now time.Time, delay time.Duration) { h.sweepAt = now.Add(delay) }

// hungry tells whether there is a reason to look now.
func (h *hunger) hungry(now time.Time) bool {
	if now.Before(h.retryAt) {
		return false
	}
	return h.more || h.hinted || passed(h.due, now) || passed(h.recheck, now) || passed(h.sweepAt, now)
}

// take takes all reasons at once: one claim answers them together.
func (h *hunger) take(now time.Time) look {
	l := look{
		source: h.source, hinted: h.hinted, since: h.since,
		messageID: h.messageID, sweep: h.sweep, ahead: h.sweep || h.ahead,
	}
	if passed(h.due, now) {
		h.due = time.Time{}
		l.sweep, l.ahead = true, true
	}
	if passed(h.recheck, now) {
		h.recheck = time.Time{}
		l.ahead = l.ahead || h.recheckStep == rechecks
		l.sweep = l.sweep || l.ahead || now.Sub(h.sweptAt) >= sweepEvery
	}
	if passed(h.sweepAt, now) {
		h.sweepAt = time.Time{}
		l.sweep = true
	}
	if l.sweep {
		h.sweptAt = now
	}
	h.more, h.hinted, h.sweep, h.ahead, h.messageID = false, false, false, false, 0
	return l
}

// putBack restores the reasons of a look that could not be followed.
func (h *hunger) putBack(l look) {
	h.more = true
	h.sweep = h.sweep || l.sweep
	h.ahead = h.ahead || l.ahead
}

// full notes that a claim got all that it asked for. There may be more, so the
// look ahead that it owes is left to the look that empties the queue.
func (h *hunger) full(l look) {
	h.more = true
	h.ahead = h.ahead || l.ahead
}

// short notes that the queue had less than was asked for, or nothing.
func (h *hunger) short(now time.Time, found bool) {
	if found && h.recheckStep > 0 && h.recheckStep < rechecks {
		h.recheckStep, h.recheck = 0, time.Time{}
	}
	if h.recheckStep == rechecks {
		return
	}
	// One that is pending from before a new notification comes earlier, never
	// later: else a stream of notifications would put it off for ever.
	at := now.Add(firstRecheck << h.recheckStep)
	if h.recheck.IsZero() || h.recheckStep == 0 && at.Before(h.recheck) {
		h.recheck = at
		h.recheckStep++
	}
}

// overlooked notes a message that the claim before did not get although it is
// visible: it became due in between, or somebody has locked it. A claim that
// found others is repeated at once; after one that found nothing the rechecks
// start again, so that a locked message costs little.
func (h *hunger) overlooked(now time.Time, found bool) {
	if found {
		h.dueIn(now, 0)
		return
	}
	h.recheckStep, h.recheck = 1, now.Add(firstRecheck)
}

// failed notes a claim that failed: look again after the delay.
func (h *hunger) failed(l look, now time.Time, delay time.Duration) {
	h.putBack(l)
	h.retryAt = now.Add(delay)
}

// next is how long until there is a reason to look, if nobody adds one.
func (h *hunger) next(now time.Time) time.Duration {
	if now.Before(h.retryAt) {
		return h.retryAt.Sub(now)
	}
	next := never
	for _, at := range [...]time.Time{h.due, h.recheck, h.sweepAt} {
		if !at.IsZero() {
			next = min(next, max(at.Sub(now), 0))
		}
	}
	return next
}

func passed(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }
