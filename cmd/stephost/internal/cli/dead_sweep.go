package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"github.com/stephost/stephost/queues/pgmq"
)

// sweepFlags are the flags of commands that change many dead letters.
type sweepFlags struct {
	all, dryRun bool
	rate        string
}

func (f *sweepFlags) register(cmd *cobra.Command, verb string) {
	cmd.Flags().BoolVar(&f.all, "all", false, "all that are in the queue now")
	cmd.Flags().StringVar(&f.rate, "rate", "", verb+" no more than so many, like 100/s or 30/m")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "only count what it would "+verb)
}

// chunksPerSecond is how many transactions a rate is spread over.
const chunksPerSecond = 10

func (f *sweepFlags) check(cmd *cobra.Command, chooses bool) (pgmq.DeadSweep, error) {
	sweep := pgmq.DeadSweep{DryRun: f.dryRun}
	switch {
	case f.all && chooses:
		return sweep, usagef(cmd, "--all leaves nothing to choose: name message ids or filters, or --all alone")
	case !f.all && !chooses:
		return sweep, usagef(cmd, "name message ids, filters or --all")
	}
	if f.rate == "" {
		return sweep, nil
	}
	limit, err := parseRate(f.rate)
	if err != nil {
		return sweep, usagef(cmd, "--rate: %w", err)
	}
	sweep.Chunk = min(max(int(limit/chunksPerSecond), 1), maxRatedChunk)
	limiter := rate.NewLimiter(limit, sweep.Chunk)
	// The first ones go at once; there is no second helping.
	limiter.AllowN(time.Now(), sweep.Chunk)
	sweep.Pace = func(ctx context.Context, moved int) error {
		if err := limiter.WaitN(ctx, moved); ctx.Err() == nil {
			return err
		}
		return ctx.Err()
	}
	return sweep, nil
}

// maxRatedChunk is as much as one transaction takes.
const maxRatedChunk = 500

// sweepVerbs say what a command has done.
type sweepVerbs struct{ done, would string }

// sweepReport is what --json prints.
type sweepReport struct {
	Queue       string           `json:"queue"`
	Chosen      int64            `json:"chosen"`
	Done        int64            `json:"done"`
	To          map[string]int64 `json:"to,omitempty"`
	Skipped     []skipReport     `json:"skipped,omitempty"`
	Absent      []int64          `json:"absent,omitempty"`
	DryRun      bool             `json:"dry_run"`
	Interrupted bool             `json:"interrupted"`
}

type skipReport struct {
	Reason pgmq.SkipReason `json:"reason"`
	Queue  string          `json:"queue,omitempty"`
	Count  int64           `json:"count"`
	IDs    []int64         `json:"msg_ids"` // the first few
	Error  string          `json:"error,omitempty"`
}

// printSweep prints what has become of dead letters, also after an error. Its
// own error is that one, or about those that were left. named says that they
// were asked for by their ids.
func (a *app) printSweep(ctx context.Context, verbs sweepVerbs, r pgmq.DeadReport, dry, named bool, cause error) error {
	if cause != nil && r.Seen == 0 && ctx.Err() == nil {
		return cause
	}
	if a.json {
		report := sweepReport{
			Queue: r.Queue, Chosen: r.Total, Done: r.Done, To: r.To, Absent: r.Absent, DryRun: dry, Interrupted: ctx.Err() != nil,
		}
		for _, s := range r.Skipped {
			skip := skipReport{Reason: s.Reason, Queue: s.Queue, Count: s.Count, IDs: s.IDs}
			if s.Err != nil {
				skip.Error = s.Err.Error()
			}
			report.Skipped = append(report.Skipped, skip)
		}
		if err := a.printJSON(report); err != nil {
			return err
		}
	} else if err := a.printf("%s\n", sweepSentence(verbs, r, dry, cause != nil)); err != nil {
		return err
	}
	if cause != nil {
		return cause
	}
	return leftError(r, named)
}

func sweepSentence(verbs sweepVerbs, r pgmq.DeadReport, dry, cut bool) string {
	verb := verbs.done
	if dry {
		verb = verbs.would
	}
	text := fmt.Sprintf("%s %s from %s", verb, countOf(r.Done, "message"), r.Queue)
	var to []string
	for _, queue := range slices.Sorted(maps.Keys(r.To)) {
		to = append(to, fmt.Sprintf("%d to %s", r.To[queue], queue))
	}
	if len(to) > 0 {
		text += ": " + strings.Join(to, ", ")
	}
	if cut {
		text += fmt.Sprintf("; the rest of %d is where it was", r.Total)
	}
	return text
}

// leftError says which messages were left and why. Somebody who has taken a
// message in the same moment is no error, unless it was asked for by its id.
func leftError(r pgmq.DeadReport, named bool) error {
	var left []string
	for _, s := range r.Skipped {
		if named || s.Reason != pgmq.SkipTaken {
			left = append(left, skipSentence(r.Queue, s))
		}
	}
	if len(r.Absent) > 0 {
		left = append(left, fmt.Sprintf("not in %s: %s", r.Queue, listIDs(r.Absent[:min(len(r.Absent), maxListedIDs)], int64(len(r.Absent)))))
	}
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(left, "; "))
}

func skipSentence(queue string, s pgmq.DeadSkip) string {
	which := listIDs(s.IDs, s.Count)
	switch s.Reason {
	case pgmq.SkipLeased:
		return fmt.Sprintf("left since a consumer of %s holds them: %s", queue, which)
	case pgmq.SkipTaken:
		return fmt.Sprintf("left since somebody else took or changed them at the same time: %s", which)
	case pgmq.SkipNoOrigin:
		return fmt.Sprintf("left since they do not say where they came from, use --to QUEUE: %s", which)
	case pgmq.SkipNoQueue:
		return fmt.Sprintf("left since %v, or use --to QUEUE: %s", s.Err, which)
	default:
		return fmt.Sprintf("left since the database does not take them (%v): %s", s.Err, which)
	}
}

func listIDs(first []int64, count int64) string {
	text := strings.ReplaceAll(strings.Trim(fmt.Sprint(first), "[]"), " ", ", ")
	if more := count - int64(len(first)); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// progress is a line on the terminal that says how far a command is.
type progress struct {
	out  io.Writer // nil: nobody looks
	verb string
	rest string
}

func (a *app) newProgress(verb, queue string) *progress {
	p := &progress{verb: verb, rest: " from " + queue}
	if !a.json && a.isTerminal(a.stderr) {
		p.out = a.stderr
	}
	return p
}

const clearLine = "\r\x1b[K"

func (p *progress) show(r pgmq.DeadReport) {
	if p.out != nil {
		_, _ = fmt.Fprintf(p.out, "%s%s %d of %d%s", clearLine, p.verb, r.Done, r.Total, p.rest)
	}
}

func (p *progress) end() {
	if p.out != nil {
		_, _ = fmt.Fprint(p.out, clearLine)
	}
}

// isTerminal tells whether a person is at the other end.
func (a *app) isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}
