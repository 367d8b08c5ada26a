package pgmq

import (
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// sweepEvery bounds how long a message that became visible late, behind the
// floor, can be passed over while newer ones keep every claim full.
const sweepEvery = time.Second

// floors remembers, for queues that are being drained, where the last claim
// ended. Dead index entries lie before that point until a vacuum, and walking
// over them is what makes claims slow under load. A floor lives only from one
// full claim to the next: a claim that comes back short has also looked behind
// it, so that no message depends on a later sweep.
type floors struct {
	now func() time.Time
	mu  sync.Mutex
	at  map[string]floor
}

type floor struct {
	low   time.Time
	swept time.Time
}

// start gives the vt at which a claim may start.
func (f *floors) start(queue string, sweep bool) (low pgtype.Timestamptz, floored bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entry, ok := f.at[queue]
	if !ok || sweep || f.now().Sub(entry.swept) >= sweepEvery {
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}, false
	}
	return pgtype.Timestamptz{Time: entry.low, Valid: true}, true
}

// ended notes how a claim went: whether it was full, whether it looked at
// everything, and the newest vt that it took.
func (f *floors) ended(queue string, full, swept bool, last time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !full {
		delete(f.at, queue)
		return
	}
	if f.at == nil || len(f.at) >= maxCached {
		f.at = make(map[string]floor)
	}
	entry := f.at[queue]
	entry.low = last
	if swept {
		entry.swept = f.now()
	}
	f.at[queue] = entry
}
