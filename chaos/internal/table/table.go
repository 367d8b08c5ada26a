// Package table prints the rows of a chaos run, for people on a terminal and as
// markdown.
package table

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/stephost/stephost/chaos/internal/trial"
)

// column is a head and how a row fills it. Numbers stand on the right.
type column struct {
	head  string
	width int // of the terminal's table; negative: on the left; 0: the last one
	cell  func(trial.Outcome) string
}

func columns() []column {
	count := func(of func(trial.Outcome) int) func(trial.Outcome) string {
		return func(o trial.Outcome) string { return strconv.Itoa(of(o)) }
	}
	return []column{
		{"fault", -26, func(o trial.Outcome) string { return o.Fault }},
		{"messages", 8, count(func(o trial.Outcome) int { return o.Messages })},
		{"results", 8, count(func(o trial.Outcome) int { return o.Results })},
		{"lost", 5, count(func(o trial.Outcome) int { return o.Lost })},
		{"settled twice", 13, count(func(o trial.Outcome) int { return o.SettledTwice })},
		{"executed again", 14, count(func(o trial.Outcome) int { return o.ExecutedAgain })},
		{"recovery", 8, func(o trial.Outcome) string {
			if o.Skipped != "" {
				return "-"
			}
			if o.Recovery < 0 {
				return "never"
			}
			return fmt.Sprintf("%.1f s", o.Recovery.Seconds())
		}},
		{"worst pickup", 12, func(o trial.Outcome) string { return fmt.Sprintf("%.2f s", o.Pickup.Seconds()) }},
		{"note", 0, trial.Outcome.Note},
	}
}

// Head prints the first line of the terminal's table.
func Head(w io.Writer) {
	line(w, func(c column) string { return c.head })
}

// Row prints one row of it.
func Row(w io.Writer, o trial.Outcome) {
	line(w, func(c column) string { return c.cell(o) })
}

func line(w io.Writer, cell func(column) string) {
	var text strings.Builder
	for _, c := range columns() {
		if c.width == 0 {
			text.WriteString(cell(c))
			continue
		}
		fmt.Fprintf(&text, "%*s  ", c.width, cell(c))
	}
	_, _ = fmt.Fprintln(w, strings.TrimRight(text.String(), " "))
}

// Summary is the last line: what all rows sum up to. Rows that were skipped do
// not count; a line of their own before it names them.
func Summary(rows []trial.Outcome) string {
	faults, lost, twice := 0, 0, 0
	var skipped []string
	for _, o := range rows {
		if o.Skipped != "" {
			skipped = append(skipped, o.Fault)
			continue
		}
		faults++
		lost += o.Lost
		twice += o.SettledTwice
	}
	text := fmt.Sprintf("faults %d lost %d settled_twice %d", faults, lost, twice)
	if len(skipped) > 0 {
		text = fmt.Sprintf("skipped %d: %s\n%s", len(skipped), strings.Join(skipped, ", "), text)
	}
	return text
}

// Markdown writes the whole table, below a line that says where it comes from.
func Markdown(w io.Writer, origin string, rows []trial.Outcome) error {
	var text strings.Builder
	text.WriteString(origin + "\n\n")
	heads, rules := []string{}, []string{}
	for _, c := range columns() {
		heads = append(heads, c.head)
		if c.width > 0 {
			rules = append(rules, "---:")
		} else {
			rules = append(rules, "---")
		}
	}
	row := func(cells []string) { text.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	row(heads)
	row(rules)
	for _, o := range rows {
		var cells []string
		for _, c := range columns() {
			cells = append(cells, strings.ReplaceAll(c.cell(o), "|", `\|`))
		}
		row(cells)
	}
	text.WriteString("\n`" + Summary(rows) + "`\n")
	_, err := io.WriteString(w, text.String())
	return err
}
