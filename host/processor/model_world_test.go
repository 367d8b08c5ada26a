package processor

import (
	"fmt"
	"slices"
	"time"
)

// The model's policy, and the units of its clock. Everything that takes time
// takes whole steps of the clock, so that the seconds which a test really takes
// decide nothing.
const (
	modelTick          = 20 * time.Minute
	modelLease         = 3 * modelTick
	modelMaxAttempts   = 3
	modelMaxDeliveries = 3
	modelMaxCrashes    = 2
)

// world is the model: all that the database must hold, and nothing of how it
// comes about.
type world struct {
	now     time.Duration // moves only when a test says so
	rows    map[rowKey]*row
	dead    []*letter
	archive []string
	results []string
	emits   []string
	nextTag int
}

// rowKey names a message of the queue for good: ids alone begin again.
type rowKey struct {
	id       int64
	enqueued int64 // microseconds
}

// row is a message in the queue.
type row struct {
	rowKey
	tag    int
	origin string // idempotency key
	epoch  int32
	due    time.Duration
	counts
	replays int
	locked  bool // by a statement that has not been committed
}

// counts are what has been counted against a message.
type counts struct {
	failures, crashes, suspicion int
	// lost is how many deliveries in a row, the present one included, have had
	// no outcome.
	lost int
}

// letter is a message in the dead-letter queue.
type letter struct {
	tag     int
	origin  string
	reason  string
	replays int
}

func newWorld() *world { return &world{rows: make(map[rowKey]*row)} }

func (r *row) visible(now time.Duration) bool { return r.due <= now && !r.locked }

// sorted are the rows by id.
func (w *world) sorted() []*row {
	rows := make([]*row, 0, len(w.rows))
	for _, r := range w.rows {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b *row) int { return int(a.id - b.id) })
	return rows
}

func (w *world) visible() (n int) {
	for _, r := range w.rows {
		if r.visible(w.now) {
			n++
		}
	}
	return n
}

// add puts a message into the queue.
func (w *world) add(key rowKey, delay time.Duration) {
	w.nextTag++
	w.rows[key] = &row{
		rowKey: key, tag: w.nextTag, due: w.now + delay,
		origin: fmt.Sprintf("%s/%d/%d", modelQueue, key.id, key.enqueued),
	}
}

// lease hands a message out.
func (w *world) lease(r *row) {
	r.epoch++
	r.lost++
	r.due = w.now + modelLease
}

// ending is what a settlement does with its message.
type ending int

const (
	completes ending = iota
	givesBack
	buries
)

// verdict is the settlement that must follow an outcome.
type verdict struct {
	ending
	outcome Outcome
	attempt int
	// What a message that is given back carries from then on; unaccounted: this
	// delivery goes on counting.
	delay time.Duration
	counts
	unaccounted bool
	// Why it is buried, and what the result says.
	reason, status string
	emits          []string
	// refused: the database does not take what the handler has returned.
	refused bool
}

// fate is what the database must answer to a settlement.
type modelFate int

const (
	fateSettled modelFate = iota
	fateLost
	fateRefused
)

// settle ends a lease, if it is the message's newest.
func (w *world) settle(key rowKey, epoch int32, v verdict) modelFate {
	r := w.rows[key]
	switch {
	case r == nil || r.epoch != epoch:
		return fateLost
	case v.refused:
		return fateRefused
	}
	switch v.ending {
	case completes:
		delete(w.rows, key)
		w.archive = append(w.archive, fmt.Sprintf("archive tag=%d id=%d epoch=%d", r.tag, r.id, r.epoch))
		w.emits = append(w.emits, v.emits...)
		w.result(r, "completed", v)
	case givesBack:
		r.epoch++
		r.due = w.now + v.delay
		lost := 0
		if v.unaccounted {
			lost = r.lost
		}
		r.counts = v.counts
		r.lost = lost
	case buries:
		delete(w.rows, key)
		w.dead = append(w.dead, &letter{tag: r.tag, origin: r.origin, reason: v.reason, replays: r.replays})
		w.result(r, v.status, v)
	}
	return fateSettled
}

func (w *world) result(r *row, status string, v verdict) {
	w.results = append(w.results, fmt.Sprintf("result %s %s attempt=%d", r.origin, status, v.attempt))
}

// extend prolongs a lease, if it is the message's newest.
func (w *world) extend(key rowKey, epoch int32) (held, skipped bool) {
	r := w.rows[key]
	if r == nil || r.epoch != epoch {
		return false, false
	}
	if !r.locked {
		r.due = w.now + modelLease
	}
	return true, r.locked
}

// replay sends a dead letter back.
func (w *world) replay(d *letter, key rowKey) {
	w.dead = slices.DeleteFunc(w.dead, func(other *letter) bool { return other == d })
	w.rows[key] = &row{rowKey: key, tag: d.tag, origin: d.origin, due: w.now, replays: d.replays + 1}
}

// lines are all of it, one line for each fact.
func (w *world) lines() []string {
	lines := slices.Concat(w.archive, w.results, w.emits)
	for _, r := range w.rows {
		lines = append(lines, fmt.Sprintf("queue id=%d enqueued=%d tag=%d epoch=%d due=%d failures=%d crashes=%d suspicion=%d lost=%d replays=%d",
			r.id, r.enqueued, r.tag, r.epoch, max(0, (r.due-w.now)/modelTick), r.failures, r.crashes, r.suspicion, r.lost, r.replays))
	}
	for _, d := range w.dead {
		lines = append(lines, fmt.Sprintf("dead tag=%d %s %s replays=%d", d.tag, d.origin, d.reason, d.replays))
	}
	slices.Sort(lines)
	return lines
}
