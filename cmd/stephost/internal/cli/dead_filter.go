package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/internal/hclfile"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

const filterHelp = `The filters choose the letters that meet all of them. A letter that stephost did
not put there has no origin, namespace, step, reason or error. A TIME is how long
ago (90m, 24h, 7d), a date (2026-01-31), a date with a time of day
("2026-01-31 17:30"), or RFC 3339; it is about when the letter came into the
dead-letter queue, by the database's clock.`

// deadFlags choose dead letters.
type deadFlags struct {
	origin, namespace, step, reason string
	errorText, errorPattern         string
	since, until                    string
	ids                             []string
}

func (f *deadFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.origin, "origin", "", "only those that came from this queue")
	flags.StringVar(&f.namespace, "namespace", "", "only those of this namespace")
	flags.StringVar(&f.step, "step", "", "only those of this step")
	flags.StringVar(&f.reason, "reason", "", "only those that died of this: "+strings.Join(reasonNames(), ", "))
	flags.StringVar(&f.errorText, "error", "", "only those with this in the error or its type, in any case")
	flags.StringVar(&f.errorPattern, "error-regexp", "", "only those whose error or its type matches this regular expression of PostgreSQL")
	flags.StringVar(&f.since, "since", "", "only those that died at this TIME or later")
	flags.StringVar(&f.until, "until", "", "only those that died before this TIME")
	flags.StringSliceVar(&f.ids, "ids", nil, "only those with these ids, like 7,10-20,30-")
	_ = cmd.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(reasonNames(), cobra.ShellCompDirectiveNoFileComp))
}

func reasonNames() []string {
	reasons := queues.DeadReasons()
	names := make([]string, len(reasons))
	for i, reason := range reasons {
		names[i] = string(reason)
	}
	return names
}

// chooses tells whether there is any condition.
func (f *deadFlags) chooses() bool {
	return f.origin != "" || f.namespace != "" || f.step != "" || f.reason != "" || f.errorText != "" ||
		f.errorPattern != "" || f.since != "" || f.until != "" || len(f.ids) > 0
}

// check finds mistakes that need no database.
func (f *deadFlags) check(cmd *cobra.Command, ids []string) (pgmq.DeadFilter, error) {
	which := pgmq.DeadFilter{
		Origin: f.origin, Namespace: f.namespace, Step: f.step, Reason: queues.DeadReason(f.reason),
		ErrorText: f.errorText, ErrorPattern: f.errorPattern,
	}
	if f.reason != "" && !slices.Contains(queues.DeadReasons(), which.Reason) {
		return which, usagef(cmd, "--reason %q is none of %s", f.reason, strings.Join(reasonNames(), ", "))
	}
	for _, flag := range []struct{ name, value string }{{"since", f.since}, {"until", f.until}} {
		if _, err := parseMoment(flag.value, time.Time{}); err != nil {
			return which, usagef(cmd, "--%s: %w", flag.name, err)
		}
	}
	var err error
	which.IDs, err = idRanges(cmd, slices.Concat(ids, f.ids))
	return which, err
}

// withDead opens the database and calls use with what the flags choose; ids are
// those that were named as arguments.
func (a *app) withDead(cmd *cobra.Command, db databaseFlags, flags *deadFlags, ids []string, use func(*pgmq.Broker, pgmq.DeadFilter) error) error {
	which, err := flags.check(cmd, ids)
	if err != nil {
		return err
	}
	err = a.withBroker(cmd.Context(), db, func(broker *pgmq.Broker) error {
		if err := flags.resolve(cmd.Context(), broker, &which); err != nil {
			return err
		}
		return use(broker, which)
	})
	var pattern *pgmq.PatternError
	if errors.As(err, &pattern) {
		return &usageError{fmt.Errorf("--error-regexp: %w", pattern)}
	}
	return err
}

// resolve turns times that are relative to now into the database's.
func (f *deadFlags) resolve(ctx context.Context, broker *pgmq.Broker, which *pgmq.DeadFilter) error {
	if f.since == "" && f.until == "" {
		return nil
	}
	now, err := broker.Now(ctx)
	if err != nil {
		return err
	}
	if which.Since, err = parseMoment(f.since, now); err != nil {
		return err
	}
	which.Until, err = parseMoment(f.until, now)
	return err
}

// parseMoment reads a point in time; nothing is the zero time. Dates and times
// of day without a zone are local.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := hclfile.ParseAge(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf(`%q is no time: use how long ago it is, like 90m, 24h or 7d, a date like 2026-01-31, or "2026-01-31 17:30"`, text)
}

// idRanges reads ids and ranges of ids.
func idRanges(cmd *cobra.Command, texts []string) ([]pgmq.IDRange, error) {
	ranges := make([]pgmq.IDRange, 0, len(texts))
	for _, text := range texts {
		r, ok := parseIDs(text)
		if !ok {
			return nil, usagef(cmd, "%q is neither a message id nor a range like 10-20", text)
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

// parseIDs reads an id, like 7, or a range: 7-9, or 7- without an end.
func parseIDs(text string) (pgmq.IDRange, bool) {
	first, last, isRange := strings.Cut(text, "-")
	switch {
	case !isRange:
		last = first
	case last == "":
		last = strconv.FormatInt(math.MaxInt64, 10)
	}
	from, err1 := strconv.ParseUint(first, 10, 63)
	to, err2 := strconv.ParseUint(last, 10, 63)
	return pgmq.IDRange{First: int64(from), Last: int64(to)}, err1 == nil && err2 == nil && 0 < from && from <= to
}
