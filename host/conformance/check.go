package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stephost/stephost/host/supervisor"
)

// Sample is a step to run and its input.
type Sample struct {
	Step string
	// Input is a JSON object.
	Input []byte
}

// Options say what to check.
type Options struct {
	// Spec is the plugin. Configure gives the config block; nil means the
	// defaults of the schema.
	Spec supervisor.Spec
	Deps supervisor.Deps
	// Samples replace the input {} for the steps that they name. A step may
	// have several.
	Samples []Sample
	// Patience bounds every wait for an answer. Default 10 seconds.
	Patience time.Duration
	// Only names the clauses to check; empty: all.
	Only []string
	// OnFinding is told each finding at once. May be nil.
	OnFinding func(Finding)
}

// Check checks the clauses one after the other. The error is about the check
// itself: ctx has ended, the options are wrong, or the program cannot be
// executed (a *supervisor.ProgramError). When it returns, no process
// of the plugin is left.
func Check(ctx context.Context, opts Options) (*Report, error) {
	if opts.Patience == 0 {
		opts.Patience = 10 * time.Second
	}
	clauses, err := selected(opts.Only)
	if err != nil {
		return nil, err
	}
	k := newKit(opts)
	defer k.close()
	report := &Report{}
	found := make(map[string]Finding, len(clauses))
	for _, c := range clauses {
		f := k.find(ctx, c, found)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("check plugin: %w", context.Cause(ctx))
		}
		if k.unusable != nil {
			return nil, fmt.Errorf("check plugin: %w", k.unusable)
		}
		found[c.ID] = f
		report.Findings = append(report.Findings, f)
		if opts.OnFinding != nil {
			opts.OnFinding(f)
		}
	}
	report.Plugin, report.Version = k.name, k.version
	return report, nil
}

func selected(only []string) ([]Clause, error) {
	all := Clauses()
	if len(only) == 0 {
		return all, nil
	}
	var chosen []Clause
	for _, id := range only {
		at := slices.IndexFunc(all, func(c Clause) bool { return c.ID == id })
		if at < 0 {
			return nil, fmt.Errorf("there is no clause %q", id)
		}
		chosen = append(chosen, all[at])
	}
	return chosen, nil
}

// find checks one clause.
func (k *kit) find(ctx context.Context, c Clause, found map[string]Finding) Finding {
	f := Finding{Clause: c, Outcome: Kept}
	if before, checked := found[c.needs]; checked && before.Outcome != Kept {
		f.Outcome, f.Note = Skipped, fmt.Sprintf("needs %s, which was %s", c.needs, before.Outcome)
		f.Cause = before.Cause
		if before.Outcome == Broken {
			f.Cause = before.ID
		}
		return f
	}
	began := time.Now()
	err := c.check(ctx, k)
	f.Took = time.Since(began)
	var (
		skip *skipped
		kept *noted
		v    *violation
	)
	switch {
	case err == nil:
	case errors.As(err, &skip):
		f.Outcome, f.Note = Skipped, skip.reason
	case errors.As(err, &kept):
		f.Note = kept.note
	case errors.As(err, &v):
		f.Outcome, f.Expected, f.Seen, f.Hint = Broken, v.expected, v.seen, v.hint
	default:
		f.Outcome, f.Expected, f.Seen = Broken, "no error on the way", err.Error()
	}
	f.Stderr = k.endClause(f.Outcome == Broken)
	if v != nil && len(f.Stderr) == 0 {
		f.Stderr = v.stderr
	}
	return f
}
