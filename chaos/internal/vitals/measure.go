package vitals

import "github.com/stephost/stephost/chaos/internal/plateau"

// Measure is what a series measures.
type Measure string

// The measures. Those in bytes end in "bytes".
const (
	Resident     Measure = "resident bytes"
	Heap         Measure = "heap in use bytes"
	Goroutines   Measure = "goroutines"
	Threads      Measure = "threads"
	Descriptors  Measure = "descriptors"
	Processes    Measure = "processes"
	Entries      Measure = "entries"
	Backends     Measure = "backends"
	Horizon      Measure = "xmin age"
	DeadTuples   Measure = "dead tuples"
	Messages     Measure = "rows"
	RelationSize Measure = "size bytes"
)

const mebibyte = 1 << 20

// Tolerance is how much a series of this measure may grow over a run. The absolute
// amounts are what a healthy world was seen to move by without a cause. In an hour
// each kind of fault happens about ten times: what leaks one goroutine, descriptor,
// process or file with each of them is found.
func (m Measure) Tolerance() plateau.Tolerance {
	switch m {
	case Resident, Heap:
		return plateau.Tolerance{Relative: 0.1, Absolute: 4 * mebibyte}
	case Goroutines:
		return plateau.Tolerance{Relative: 0.03, Absolute: 4}
	case Threads, Descriptors, Backends:
		return plateau.Tolerance{Relative: 0.1, Absolute: 4}
	case Processes, Entries:
		return plateau.Tolerance{Relative: 0.1, Absolute: 2}
	case Horizon:
		return plateau.Tolerance{Relative: 0.1, Absolute: 1000}
	case DeadTuples, Messages:
		return plateau.Tolerance{Relative: 0.1, Absolute: 2000}
	case RelationSize:
		return plateau.Tolerance{Relative: 0.1, Absolute: mebibyte}
	default:
		return plateau.Tolerance{Relative: 0.1}
	}
}
