package conformance

import (
	"fmt"
	"time"
)

// Outcome is what became of one clause.
type Outcome string

// The outcomes.
const (
	Kept    Outcome = "kept"
	Broken  Outcome = "broken"
	Skipped Outcome = "skipped"
)

// Finding is one clause with its outcome.
type Finding struct {
	Clause
	Outcome Outcome `json:"outcome"`
	// Expected, Seen and Hint explain a broken clause.
	Expected string `json:"expected,omitempty"`
	Seen     string `json:"seen,omitempty"`
	Hint     string `json:"hint,omitempty"`
	// Stderr has the last lines of the process that broke the clause.
	Stderr []string `json:"stderr,omitempty"`
	// Note is the reason why it was skipped, or what else there is to say.
	Note string `json:"note,omitempty"`
	// Cause is the broken clause for which this one was skipped, if there is one.
	Cause string        `json:"cause,omitempty"`
	Took  time.Duration `json:"took_ns"`
}

// Report is the result of a check.
type Report struct {
	// Plugin and Version are what the plugin calls itself; empty where it did
	// not come so far.
	Plugin   string    `json:"plugin"`
	Version  string    `json:"version"`
	Findings []Finding `json:"findings"`
}

// Conforms reports whether no must was broken.
func (r *Report) Conforms() bool { return r.Count(Broken, Must) == 0 }

// Count is how many clauses of a severity had an outcome.
func (r *Report) Count(outcome Outcome, severity Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Outcome == outcome && f.Severity == severity {
			n++
		}
	}
	return n
}

// Broken returns the findings about broken clauses.
func (r *Report) Broken() []Finding {
	var broken []Finding
	for _, f := range r.Findings {
		if f.Outcome == Broken {
			broken = append(broken, f)
		}
	}
	return broken
}

// String is one line about a broken clause, for logs and tests.
func (f Finding) String() string {
	return fmt.Sprintf("%s (%s): expected %s; seen: %s; %s", f.ID, f.Severity, f.Expected, f.Seen, f.Hint)
}
