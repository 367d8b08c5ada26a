package soak

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/stephost/stephost/chaos/internal/audit"
	"github.com/stephost/stephost/chaos/internal/plateau"
	"github.com/stephost/stephost/chaos/internal/vitals"
)

// enough is the length from which on a host was seen to have warmed up.
const enough = 10 * time.Minute

// Report is what a soak has found.
type Report struct {
	Seed uint64
	// Length is how long the load ran.
	Length time.Duration
	// Faults counts what has happened, by kind.
	Faults map[string]int
	Audit  audit.Report
	// Problems are faults that were not mended and what hosts left behind.
	Problems []string

	recorder *vitals.Recorder
}

// WriteCSV writes all measurements.
func (r *Report) WriteCSV(to io.Writer) error { return r.recorder.WriteCSV(to) }

// Line is a series with its verdict.
type Line struct {
	vitals.Series
	plateau.Result
	// Judged is false for what is shown alone.
	Judged bool
}

// Lines are all series in the order of their subjects.
func (r *Report) Lines() []Line {
	var lines []Line
	for _, s := range r.recorder.Series() {
		result, judged := s.Judge(r.Length)
		lines = append(lines, Line{s, result, judged})
	}
	slices.SortStableFunc(lines, func(a, b Line) int { return strings.Compare(a.Subject.Name, b.Subject.Name) })
	return lines
}

// Findings are all reasons for which the soak has failed; none: it has passed.
func (r *Report) Findings() []string {
	var all []string
	for _, line := range r.Lines() {
		if line.Judged && !line.Verdict.Plateaus() {
			all = append(all, fmt.Sprintf("%s, %s: %s", line.Subject.Name, line.Measure, line.Verdict))
		}
	}
	if err := r.recorder.Unread(); err != nil {
		all = append(all, fmt.Sprintf("never measured: %v", err))
	}
	all = append(all, r.Audit.Breaches()...)
	if r.Audit.Messages == 0 {
		all = append(all, "no message was sent")
	}
	return append(all, r.Problems...)
}

// Print writes the report for people. Its last line is the verdict.
func (r *Report) Print(to io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%-26s %-17s %10s %10s %10s %10s %10s  %-9s  %s\n",
		"subject", "measure", "start", "median", "end", "growth", "allowed", "verdict", "the whole run")
	for _, line := range r.Lines() {
		line.print(&out)
	}
	fmt.Fprintf(&out, "\nfaults:")
	total := 0
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(&out, " %s %d,", name, r.Faults[name])
		total += r.Faults[name]
	}
	fmt.Fprintf(&out, " together %d\n", total)
	fmt.Fprintf(&out, "messages %d, results %d, executions %d, executed again %d, dead letters %d, worst pickup %v\n",
		r.Audit.Messages, r.Audit.Results, r.Audit.Executions, r.Audit.ExecutedAgain, r.Audit.DeadLetters, r.Audit.Pickup.Round(time.Millisecond))
	findings := r.Findings()
	for _, finding := range findings {
		fmt.Fprintf(&out, "FAILED: %s\n", finding)
	}
	if r.rising() > 0 && r.Length < enough {
		fmt.Fprintf(&out, "in less than %v a series that still warms up looks like one that grows\n", enough)
	}
	verdict := "passed"
	if len(findings) > 0 {
		verdict = "FAILED"
	}
	fmt.Fprintf(&out, "soak %s: %v, seed %d, faults %d, lost %d, settled_twice %d, without a plateau %d\n",
		verdict, r.Length.Round(time.Second), r.Seed, total, r.Audit.Lost, r.Audit.SettledTwice, r.rising())
	_, err := io.WriteString(to, out.String())
	return err
}

// rising counts the series without a plateau.
func (r *Report) rising() int {
	n := 0
	for _, line := range r.Lines() {
		if line.Judged && !line.Verdict.Plateaus() {
			n++
		}
	}
	return n
}

func (l Line) print(out *strings.Builder) {
	verdict := l.Verdict.String()
	if !l.Judged {
		verdict = "not judged"
	}
	fmt.Fprintf(out, "%-26s %-17s", l.Subject.Name, strings.TrimSuffix(string(l.Measure), " bytes"))
	if !l.Judged || l.Verdict == plateau.TooShort {
		fmt.Fprintf(out, " %10s %10s %10s %10s %10s", "", "", "", "", "")
	} else {
		for _, v := range []float64{l.Start, l.Median, l.End, l.Growth, l.Allowed} {
			fmt.Fprintf(out, " %10s", l.amount(v))
		}
	}
	fmt.Fprintf(out, "  %-10s  %s\n", verdict, sparkline(l.Points))
}

// amount shows a value in the unit of the measure.
func (l Line) amount(v float64) string {
	if !strings.HasSuffix(string(l.Measure), "bytes") {
		return humanize.CommafWithDigits(v, 1)
	}
	sign := ""
	if v < 0 {
		sign, v = "-", -v
	}
	return sign + humanize.IBytes(uint64(v))
}
