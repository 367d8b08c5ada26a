package config

import (
	"fmt"
	"strings"
)

// or fills in what is inherited.
func (a Archive) or(from Archive) Archive {
	if a.Retain == inherited {
		a.Retain = from.Retain
	}
	if a.MaxRows == inherited {
		a.MaxRows = from.MaxRows
	}
	if a.MaxSize == inherited {
		a.MaxSize = from.MaxSize
	}
	return a
}

// checkDeadLetterAges refuses namespaces that share a dead-letter queue and do
// not agree: the shortest would decide about the others' dead letters.
func (r *reading) checkDeadLetterAges() {
	owners := map[string]*Namespace{}
	for _, n := range r.namespaces {
		queue := strings.ToLower(n.DeadLetter)
		other, shared := owners[queue]
		if !shared {
			owners[queue] = n
			continue
		}
		if n.DeadLetterRetain != other.DeadLetterRetain {
			at := r.at(&n.DeadLetterRetain, r.at(&other.DeadLetterRetain, n.DeclRange))
			r.fail(at, "Dead letters with two ages", fmt.Sprintf("The namespaces %q and %q share the dead-letter queue %s, so dead_letter_retain must be the same in both.",
				other.Name, n.Name, r.quote(&n.DeadLetter)))
		}
	}
}
