// Package fault has what can happen to hosts, plugins, the database and the way
// between them. Each fault is injected for real and proves that it was: an
// injection that did nothing is an error.
package fault

import (
	"context"
	"fmt"
	"slices"

	"github.com/stephost/stephost/chaos/internal/world"
)

// Fault is one thing that goes wrong.
type Fault struct {
	// Name is for the table and --only: words with hyphens. About is one line.
	Name, About string
	// Shape changes the world before it starts; nil leaves it as it is.
	Shape func(*world.Options)
	// Inject makes the fault happen while the load runs, and returns when it is
	// over (or says so by World.Over and goes on to look), with the evidence that it happened: crash counters, log lines, exit
	// codes, in a few words for the table's note. The error says that it could not
	// be injected, had no effect, or that what must follow did not.
	Inject func(ctx context.Context, w *world.World) (evidence string, err error)
	Cost   Cost
}

// Cost is what a fault may cost beyond time. Nothing may cost a message or
// settle it twice, nor spend an attempt without a failure.
type Cost struct {
	// Again tells whether messages are executed again.
	Again Again
	// Late: an execution may begin after another host has settled the message.
	Late bool
	// Dead: messages may end in the dead letters beyond those that are sent to.
	Dead bool
}

// Again is whether a fault has messages executed again.
type Again int

// The answers. Must is for faults that have missed if nothing was.
const (
	Never Again = iota
	May
	Must
)

// UnavailableError says that this machine cannot have the fault, and why. From
// Shape's Via or from Inject it skips the row.
type UnavailableError struct{ Reason string }

func (e *UnavailableError) Error() string { return "skipped: " + e.Reason }

// All returns every fault, new for one run: a fault may keep state between Shape
// and Inject.
func All() []Fault {
	return slices.Concat(
		plugins(),
		handlers(),
		hosts(),
		operator(),
		postgres(),
		sessions(),
		tables(),
		notifications(),
		network(),
		poolers(),
		disks(),
		storms(),
	)
}

// Named returns the faults with these names, or all of them when there are none.
func Named(names ...string) ([]Fault, error) {
	all := All()
	if len(names) == 0 {
		return all, nil
	}
	found := make([]Fault, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(all, func(f Fault) bool { return f.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no fault %q: --list names them", name)
		}
		found = append(found, all[i])
	}
	return found, nil
}
