// Package checkup is the form of what `stephost doctor` does: checks that look
// for one kind of trouble each, and findings that say what was seen, why it
// matters and what helps. A check that cannot run says why, and the others go
// on.
package checkup

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Severity grades a finding.
type Severity string

// The severities, from good to bad.
const (
	// OK is something that was looked at and is as it should be.
	OK Severity = "ok"
	// Skipped is a check that could not run.
	Skipped Severity = "skipped"
	// Warning is something that costs time, space or safety.
	Warning Severity = "warning"
	// Error is something because of which steps do not run.
	Error Severity = "error"
)

// Finding is one thing that a check found.
type Finding struct {
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	// Seen is what was found, with its place.
	Seen string `json:"seen"`
	// Why says why it matters; empty when all is well.
	Why string `json:"why,omitempty"`
	// Fixes help, in this order, all of them unless they say otherwise.
	Fixes []Fix `json:"fixes,omitempty"`
}

// FixKind says where a fix is put in.
type FixKind string

// The kinds.
const (
	SQL     FixKind = "sql"     // a statement for psql
	Command FixKind = "command" // a line for the shell
	Edit    FixKind = "edit"    // lines for the configuration file
	Advice  FixKind = "advice"  // for a person to decide
)

// Fix is something that can be pasted, unless it is advice.
type Fix struct {
	Kind FixKind `json:"kind"`
	Text string  `json:"text"`
}

// Fine is a finding that all is well.
func Fine(format string, args ...any) []Finding {
	return []Finding{{Severity: OK, Seen: fmt.Sprintf(format, args...)}}
}

// Check looks for one kind of trouble.
type Check struct {
	// Name is unique and stable: programs may know it.
	Name string
	// Run returns at least one finding; it need not fill in their Check. Its
	// error says why the check could not run.
	Run func(ctx context.Context) ([]Finding, error)
}

// Run makes all the checks, each within the limit, one after the other.
func Run(ctx context.Context, limit time.Duration, checks []Check) []Finding {
	var all []Finding
	for _, check := range checks {
		all = append(all, run(ctx, limit, check)...)
	}
	return all
}

func run(ctx context.Context, limit time.Duration, check Check) []Finding {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	findings, err := check.Run(ctx)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("it was not done within %v", limit)
		}
		findings = append(findings, Finding{Severity: Skipped, Seen: err.Error()})
	}
	for i := range findings {
		findings[i].Check = check.Name
	}
	return findings
}

// Worst is the gravest severity among the findings.
func Worst(findings []Finding) Severity {
	worst := OK
	for _, f := range findings {
		if rank(f.Severity) > rank(worst) {
			worst = f.Severity
		}
	}
	return worst
}

func rank(s Severity) int {
	switch s {
	case Error:
		return 3
	case Warning:
		return 2
	case Skipped:
		return 1
	}
	return 0
}

// Skip says why a check cannot run.
func Skip(format string, args ...any) error { return fmt.Errorf(format, args...) }
