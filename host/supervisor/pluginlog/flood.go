package pluginlog

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The limits of one plugin. The package documentation names them too.
const (
	linesPerSecond = 1000
	ordinaryBurst  = 2000
	severeBurst    = 5000
	// reportEvery is how long dropped lines are gathered for one report.
	reportEvery = time.Second
)

// Flood limits the lines of all processes of one plugin and counts those that
// are dropped. Its zero value is ready; it is safe for concurrent use.
type Flood struct {
	mu               sync.Mutex
	ordinary, severe *rate.Limiter
	total            uint64
	// unreported are those that no warning has told of; the next one is due
	// reportEvery after the first of them.
	unreported uint64
	since      time.Time
}

// Dropped counts the lines that were dropped.
func (f *Flood) Dropped() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

func (f *Flood) init() {
	if f.ordinary == nil {
		f.ordinary = rate.NewLimiter(linesPerSecond, ordinaryBurst)
		f.severe = rate.NewLimiter(linesPerSecond, severeBurst)
	}
}

// admit takes what a line of this many bytes costs. A severe line may cost what
// is there for all and what is there for its like.
func (f *Flood) admit(severe bool, bytes int) bool {
	now, cost := time.Now(), 1+bytes>>10
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	return severe && f.severe.AllowN(now, cost) || f.ordinary.AllowN(now, cost)
}

// full reports whether an ordinary line of this size would be dropped.
func (f *Flood) full(bytes int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	return f.ordinary.Tokens() < float64(1+bytes>>10)
}

// drop counts a line. It reports whether somebody has to take care of the
// report.
func (f *Flood) drop() (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total++
	f.unreported++
	if f.unreported > 1 {
		return false
	}
	f.since = time.Now()
	return true
}

// report returns how many lines to report now, and when to ask again. With
// final, what there is is reported at once.
func (f *Flood) report(final bool) (lines uint64, again time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unreported == 0 {
		return 0, 0
	}
	if wait := time.Until(f.since.Add(reportEvery)); wait > 0 && !final {
		return 0, wait
	}
	lines, f.unreported = f.unreported, 0
	return lines, 0
}
