package pgmq

import (
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

const (
	// sweepEvery bounds how long a message that became visible late, behind the
	// floor, can be passed over while newer ones keep every claim full.
	sweepEvery = time.Second

	// slowClaim, and slowRow for each message on top, is what a claim takes that
	// has not much to step over. One that takes longer is a reason to ask.
	slowClaim = 10 * time.Millisecond
	slowRow   = 50 * time.Microsecond
	// walkShare and longestRest say how long to stay above the floor after a walk:
	// so many times as long as it took, but no longer than that.
	walkShare   = 20
	longestRest = 30 * time.Second
	// lateness is how much later than others a transaction can commit and be found
	// without a sweep, while the floor is kept.
	lateness = 250 * time.Millisecond
	// walkGrowth is how many times longer than the last a walk is believed to be: it
	// is timed here, and a busy host or a slow network must not put off the next one
	// for long.
	walkGrowth = 4
	// weighAgain is how long after a slow claim that had no long walk the next one
	// is asked about.
	weighAgain = 10 * time.Second
)

// floors remembers where the last claims of queues ended. Dead index entries lie
// before that point until a vacuum, and walking over them is what makes claims
// slow under load.
//
// As a rule a floor lives only from one full claim to the next: a claim that
// comes back short has also looked behind it. But while somebody holds the xmin
// horizon, no vacuum and no index scan gets rid of an entry, and each look behind
// takes longer than the one before: 0.2 s for a million. So once walking turns out
// to be long the floor is kept, also over short claims, and looks behind it are
// rationed to a twentieth of the time. A claim that has not looked behind is owed
// a sweep; SweepDue tells when.
type floors struct {
	now  func() time.Time
	slow func(took time.Duration, messages int) bool
	long time.Duration // the least walk that is saved
	mu   sync.Mutex
	at   map[string]floor
	// light is when queues were found to have no long walk.
	light map[string]time.Time
}

func newFloors(now func() time.Time, long time.Duration) floors {
	return floors{
		now: now, long: long,
		slow: func(took time.Duration, messages int) bool {
			return took >= slowClaim+time.Duration(messages)*slowRow
		},
	}
}

type floor struct {
	// low is in the database's time: everything that was visible before is taken,
	// but for what committed late.
	low   time.Time
	full  bool      // the last claim got all that it asked for
	swept time.Time // the last look behind, in the host's time
	// walk is how long that look took where that was long, or 0.
	walk time.Duration
	owed bool // a claim since has not looked behind
}

// rest is how long after the last sweep the next one is due.
func (f floor) rest() time.Duration { return min(walkShare*f.walk, longestRest) }

// from is where a claim begins that stays above a kept floor.
func (f floor) from() time.Time {
	if f.full {
		return f.low
	}
	return f.low.Add(-lateness)
}

// scope is what a claim is to look at.
type scope struct {
	low pgtype.Timestamptz
	// whole: low is the beginning of time.
	whole bool
	// kept: looking behind low takes long. due: it is time to do it all the same,
	// and now: before anything else.
	kept, due, now bool
}

// start gives a claim its scope.
func (f *floors) start(queue string, sweep bool) scope {
	f.mu.Lock()
	defer f.mu.Unlock()
	entry, ok := f.at[queue]
	since := f.now().Sub(entry.swept)
	switch {
	case ok && entry.walk > 0:
		due := since >= entry.rest()
		// A claim that may well find something above the floor is not held up.
		return scope{low: timestamptz(entry.from()), kept: true, due: due, now: due && (sweep || entry.full)}
	case !ok || sweep || since >= sweepEvery:
		return scope{low: beginning(), whole: true}
	}
	return scope{low: timestamptz(entry.low)}
}

// beginning and end are of time.
func beginning() pgtype.Timestamptz {
	return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
}

func end() pgtype.Timestamptz {
	return pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
}

func timestamptz(at time.Time) pgtype.Timestamptz { return pgtype.Timestamptz{Time: at, Valid: true} }

// ended notes how a claim went whose floor is not kept: whether it was full,
// whether it looked at everything, and the newest vt that it took.
func (f *floors) ended(queue string, full, swept bool, last time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !full {
		delete(f.at, queue)
		return
	}
	entry := f.at[queue]
	entry.low, entry.full = last, true
	if swept {
		entry.swept = f.now()
	}
	f.put(queue, entry)
}

// keep makes the floor outlive short claims, since a claim that looked at
// everything up to low had a long walk.
func (f *floors) keep(queue string, low time.Time, full bool, walk time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(queue, floor{low: low, full: full, swept: f.now(), walk: walk})
}

// backLook is a look behind a kept floor.
type backLook struct {
	at     time.Time // before it, in the database's time
	walk   time.Duration
	failed bool
}

// worthWeighing tells whether to ask why a claim took so long.
func (f *floors) worthWeighing(queue string, took time.Duration, messages int) bool {
	if !f.slow(took, messages) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	at, known := f.light[queue]
	return !known || f.now().Sub(at) >= weighAgain
}

// weighed notes that it was no long walk.
func (f *floors) weighed(queue string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.light == nil || len(f.light) >= maxCached {
		f.light = make(map[string]time.Time)
	}
	f.light[queue] = f.now()
}

// endedAbove notes how a claim went that stayed above a kept floor, with the sweep
// that belonged to it, if any.
func (f *floors) endedAbove(queue string, full bool, last time.Time, swept *backLook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entry := f.at[queue]
	behind := swept != nil && !swept.failed
	entry.full, entry.owed = full, !behind
	walk := entry.walk
	if swept != nil {
		walk = min(swept.walk, walkGrowth*entry.walk)
	}
	switch {
	case !behind:
		if last.After(entry.low) {
			entry.low = last
		}
		if swept != nil {
			entry.swept, entry.walk = f.now(), max(entry.walk, walk)
		}
	case !full && walk < f.long:
		delete(f.at, queue)
		return
	default:
		// Back also, where the database's clock went back, or the sweep alone was full.
		entry.low = swept.at
		if full {
			entry.low = last
		}
		entry.swept, entry.walk = f.now(), walk
		if walk < f.long {
			entry.walk = 0
		}
	}
	f.put(queue, entry)
}

// put stores an entry; f.mu is held.
func (f *floors) put(queue string, entry floor) {
	if _, known := f.at[queue]; !known && (f.at == nil || len(f.at) >= maxCached) {
		f.at = make(map[string]floor)
	}
	f.at[queue] = entry
}

// sweepDue is for SweepDue.
func (f *floors) sweepDue(queue string) (in time.Duration, due bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entry := f.at[queue]
	if entry.walk == 0 || !entry.owed {
		return 0, false
	}
	return max(entry.rest()-f.now().Sub(entry.swept), 0), true
}

// forProbe is where a probe begins to look for visible messages. Whoever claims
// looks after what is behind; should nobody claim, the floor is believed in for
// two rests.
func (f *floors) forProbe(queue string) pgtype.Timestamptz {
	f.mu.Lock()
	defer f.mu.Unlock()
	entry, ok := f.at[queue]
	if !ok || entry.walk == 0 || f.now().Sub(entry.swept) >= 2*entry.rest() {
		return beginning()
	}
	return timestamptz(entry.from())
}
