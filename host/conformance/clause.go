package conformance

import (
	"context"
	"errors"

	"github.com/stephost/stephost/host/supervisor"
)

// Severity is how much a clause matters.
type Severity string

// The severities. A plugin conforms when it keeps every must.
const (
	Must   Severity = "must"
	Should Severity = "should"
)

// Clause is one demand of the protocol.
type Clause struct {
	// ID is stable: area and name, as in "drain.running".
	ID string `json:"id"`
	// Title says in a few words what is checked, Demand what the protocol asks
	// for and why.
	Title    string   `json:"title"`
	Demand   string   `json:"demand"`
	Severity Severity `json:"severity"`

	// needs is the clause without which this one cannot be checked.
	needs string
	check func(context.Context, *kit) error
}

// Clauses returns all clauses in the order in which they are checked.
func Clauses() []Clause {
	var all []Clause
	for _, area := range [][]Clause{
		startClauses(), describeClauses(), configureClauses(), executeClauses(),
		timingClauses(), resultClauses(), drainClauses(), stopClauses(),
	} {
		all = append(all, area...)
	}
	return all
}

// violation is a clause that is not kept.
type violation struct {
	expected, seen, hint string
	// stderr is what a process wrote that did not come to be a session.
	stderr []string
}

func (v *violation) Error() string { return "expected " + v.expected + ", seen " + v.seen }

func violated(expected, seen, hint string) error {
	return &violation{expected: expected, seen: seen, hint: hint}
}

// startViolated is a start that failed. What the report shows elsewhere is left
// out of what was seen.
func startViolated(expected string, err error, hint string) error {
	v := &violation{expected: expected, seen: err.Error(), hint: hint}
	var start *supervisor.StartError
	if errors.As(err, &start) {
		v.seen, v.stderr = start.Err.Error(), start.Stderr
		if start.Exit != nil {
			v.seen += " (" + start.Exit.String() + ")"
		}
	}
	return v
}

// skipped is a clause that cannot apply.
type skipped struct{ reason string }

func (s *skipped) Error() string { return s.reason }

func skip(reason string) error { return &skipped{reason} }

// noted is a clause that is kept, with something to say about it.
type noted struct{ note string }

func (n *noted) Error() string { return n.note }

func note(text string) error { return &noted{text} }
