// Package gcpace lets a process with a small heap collect garbage less often.
//
// Go's collector runs when the heap has doubled. A host that holds a few
// megabytes and allocates some hundred a second collects dozens of times a
// second for the sake of those few megabytes. With an allowance it collects when
// the heap has grown by the allowance or has doubled, whichever is later: a small
// process grows by about the allowance, and a large one, which holds large bodies,
// is paced as if the package were not there. A constant GOGC cannot do both.
//
// It is no bound. Go applies the pace to stacks and globals too, which the
// allowance leaves out; and when the live heap has jumped, the collection that
// notices is still at the pace of before.
package gcpace

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// usual is Go's own pace: collect when the heap has doubled.
	usual = 100
	// smallest is the heap, in bytes, that Go takes for the least when it applies
	// a pace of 100 (runtime.heapMinimum).
	smallest = 4 << 20
)

// Allow lets the heap grow by allowance bytes before garbage is collected, for the
// rest of the process's life. It does nothing where GOGC is set, and leaves off when
// somebody else calls [debug.SetGCPercent], before or after: who sets it knows better.
// Call it once, from main.
func Allow(allowance uint64) {
	if _, set := os.LookupEnv("GOGC"); set {
		return
	}
	(&pacer{allowance: allowance, percent: usual}).collected()
}

type pacer struct {
	allowance uint64
	percent   int
}

// collected adapts the pace to what the last collection has left, and comes back
// after the next one.
func (p *pacer) collected() {
	if inForce() != uint64(p.percent) { //nolint:gosec // at least 100
		return
	}
	if percent := pace(live(), p.allowance); percent != p.percent {
		p.percent = percent
		debug.SetGCPercent(percent)
	}
	// Nothing else points to it, so that the next collection finds it dead. It has
	// pointers, so that it is an object of its own.
	runtime.AddCleanup(&sentinel{p}, func(p *pacer) { p.collected() }, p)
}

type sentinel struct{ _ *pacer }

// pace is the percentage by which a heap may grow.
func pace(live, allowance uint64) int {
	percent := usual * allowance / max(live, smallest)
	// In steps, since each change stops the world for a moment.
	percent -= percent % 20
	return int(max(percent, usual)) //nolint:gosec // at most allowance / 4 MiB hundreds
}

func live() uint64 { return read("/gc/heap/live:bytes") }

// inForce is the percentage that the runtime goes by.
func inForce() uint64 { return read("/gc/gogc:percent") }

func read(metric string) uint64 {
	sample := []metrics.Sample{{Name: metric}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
