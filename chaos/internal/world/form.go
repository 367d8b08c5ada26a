package world

import (
	"fmt"
	"time"
)

// Form is how long and how hard a run is.
type Form struct {
	Name string
	// Lease is the hosts' visibility timeout.
	Lease time.Duration
	// Warmup is how long the load runs before the fault, Hold is how long a fault
	// lasts that is repeated or held, and After is how long the load goes on at
	// least.
	Warmup, Hold, After time.Duration
	// Patience bounds every wait for something that must happen: the recovery,
	// the drain.
	Patience time.Duration
	// Rate is the load in messages per second.
	Rate int
}

// Beyond is longer than a lease by enough that it has expired everywhere.
func (f Form) Beyond() time.Duration { return f.Lease + f.Lease/2 }

// FormNamed returns one of the forms: short, quick or long.
func FormNamed(name string) (Form, error) {
	for _, f := range []Form{Short(), Quick(), Long()} {
		if f.Name == name {
			return f, nil
		}
	}
	return Form{}, fmt.Errorf("there is no form %q: use short, quick or long", name)
}

// Short is the form of the tests.
func Short() Form {
	return Form{
		Name: "short", Lease: 2 * time.Second, Warmup: time.Second, Hold: 3 * time.Second,
		After: time.Second, Patience: 90 * time.Second, Rate: 100,
	}
}

// Quick is the form that takes a third of a minute for each fault.
func Quick() Form {
	return Form{
		Name: "quick", Lease: 4 * time.Second, Warmup: 2 * time.Second, Hold: 6 * time.Second,
		After: 3 * time.Second, Patience: time.Minute, Rate: 300,
	}
}

// Long is the form with the leases of production.
func Long() Form {
	return Form{
		Name: "long", Lease: 30 * time.Second, Warmup: 6 * time.Second, Hold: 20 * time.Second,
		After: 5 * time.Second, Patience: 5 * time.Minute, Rate: 400,
	}
}
