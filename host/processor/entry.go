package processor

import (
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// entryState is where an entry is between its claim and its acknowledged
// settlement.
type entryState int

const (
	fetching   entryState = iota // claimed; its large body is still to be fetched
	suspected                    // waits for its turn in the plugin's probation
	prefetched                   // waits for a slot
	running                      // with the plugin
	settling                     // has an outcome
)

// entry is one claimed message. Its fields are guarded by its lane's mutex.
type entry struct {
	id    uint64 // the step's id towards the plugin
	lease queues.Lease
	term  leaseTerm
	state entryState
	// exec is what the step was dispatched to. Its cancellation goes there: the
	// registry may name another by then. sent is kept while it has no outcome.
	exec Executor
	sent *pluginv1.Step
	slot bool // holds one of the host's places for running steps
	// group is how many steps the turn in the plugin's probation has in which it
	// runs, itself included; 0: it runs with all others.
	group int

	claimedAt time.Time // database's clock
	claimCall time.Time // host's clock
	aheadAt   time.Time // host's clock, when it began to wait for a slot
	waited    time.Duration
	record    queues.Record
	fields    stepFields
	step      string // the resolved handler
	bytes     int64  // held of the byte budget

	timeout     time.Duration // the namespace's when the step was dispatched
	deadline    time.Time     // zero: none
	cancelled   pluginv1.CancelReason
	cancelledAt time.Time
	leaseLost   bool

	action   queues.Action
	outcome  Outcome
	errText  string
	started  time.Time // by the plugin; zero: unknown
	duration time.Duration
	settled  settleHistory
}

// leaseTerm is for how long a lease runs. start is on the host's clock, before
// the call that granted the lease, so that the host never believes in it too
// long. The length is the lease's own: the limit may be another by then.
type leaseTerm struct {
	start  time.Time
	length time.Duration
}

// isDue tells whether a third of the time is over.
func (t leaseTerm) isDue(now time.Time) bool { return now.Sub(t.start) >= t.length/3 }

// isOver tells whether the lease may have run out.
func (t leaseTerm) isOver(now time.Time) bool { return now.Sub(t.start) >= t.length }

// settleHistory remembers what earlier tries of a settlement told.
type settleHistory struct {
	refusals int
	unknown  bool // a try may have been committed
}

// isRedelivered tells whether a delivery is the entry's own message come back
// while it is in hand. It is another message when a queue of the same name was
// made anew; and it is a delivery in its own right when the entry has given the
// message back, which only the acknowledgement does not say yet: the give-back
// and the new claim have added one to the epoch each.
func (e *entry) isRedelivered(d *queues.Delivery) bool {
	if !e.lease.EnqueuedAt.Equal(d.EnqueuedAt) {
		return false
	}
	switch e.action.(type) {
	case queues.Retry, queues.Release:
		return d.Epoch < e.lease.Epoch+2
	default:
		return true
	}
}

// renew takes over the lease of a redelivery, with its record: others may have
// had the message meanwhile. A give-back that is decided already accounts for
// this delivery, too.
func (e *entry) renew(d *queues.Delivery, term leaseTerm) {
	upTo, renewed := e.lease.Epoch+1, d.Epoch+1
	switch action := e.action.(type) {
	case queues.Retry:
		if action.Record.Accounted == upTo {
			action.Record.Accounted = renewed
		}
		e.action = action
	case queues.Release:
		if action.Record.Accounted == upTo {
			action.Record.Accounted = renewed
		}
		e.action = action
	}
	e.lease, e.record, e.term = d.Lease, d.Record, term
	e.leaseLost = false
	e.settled.unknown = false
}

// startClock gives an entry that is being dispatched its deadline.
func (e *entry) startClock(now time.Time) {
	e.deadline = time.Time{}
	if e.timeout > 0 {
		e.deadline = now.Add(e.timeout)
	}
}

// attempt is the attempt that this delivery is: failures so far, plus one.
func (e *entry) attempt() int { return e.record.Failures + 1 }

// databaseTime translates a reading of the host's clock into the database's.
func (e *entry) databaseTime(now time.Time) time.Time {
	return e.claimedAt.Add(now.Sub(e.claimCall))
}

// accounted is the record of a message that is given back for a reason that
// is not its fault: this delivery counts for nothing.
func (e *entry) accounted() queues.Record {
	record := e.record
	record.Version = queues.RecordVersion
	// Giving back adds one to the epoch.
	record.Accounted = e.lease.Epoch + 1
	return record
}

// cleared is accounted for a message that has had an outcome: whatever it was
// suspected of, it has run to its end.
func (e *entry) cleared() queues.Record {
	record := e.accounted()
	record.Suspicion = 0
	return record
}

// unaccounted is the record of a message that is given back without any
// outcome: only the give-back's own step of the epoch is accounted for, so this
// delivery keeps counting towards max_deliveries.
func (e *entry) unaccounted() queues.Record {
	record := e.record
	record.Version = queues.RecordVersion
	record.Accounted++
	return record
}

// apart tells whether it runs, or ran, in the plugin's probation.
func (e *entry) apart() bool { return e.group > 0 }

// stepName is the handler that ran, or the beginning of the name that the
// message asked for.
func (e *entry) stepName() string {
	if e.step != "" {
		return e.step
	}
	return queues.Text(e.fields.step, maxStepInMessage)
}

// origin is where the message was first enqueued.
func (e *entry) origin() queues.Origin {
	if e.record.Origin != nil {
		return *e.record.Origin
	}
	return queues.Origin{Queue: e.lease.Queue, ID: e.lease.ID, EnqueuedAt: e.lease.EnqueuedAt}
}
