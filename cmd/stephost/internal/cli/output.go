package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// printJSON writes one indented JSON value.
func (a *app) printJSON(value any) error {
	encoder := json.NewEncoder(a.stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// printf writes for people.
func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.stdout, format, args...)
	return err
}

// table writes aligned columns, with a row of heads unless there are none.
type table struct {
	out *tabwriter.Writer
	err error
}

func newTable(out io.Writer, heads ...string) *table {
	t := &table{out: tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	if len(heads) > 0 {
		t.row(anySlice(heads)...)
	}
	return t
}

func (t *table) row(cells ...any) {
	if t.err != nil {
		return
	}
	texts := make([]string, len(cells))
	for i, cell := range cells {
		// A tab or line break in a value would break the table.
		texts[i] = strings.Join(strings.Fields(fmt.Sprint(cell)), " ")
		if texts[i] == "" {
			texts[i] = "-"
		}
	}
	_, t.err = fmt.Fprintln(t.out, strings.Join(texts, "\t"))
}

func (t *table) flush() error {
	if t.err != nil {
		return t.err
	}
	return t.out.Flush()
}

func anySlice(texts []string) []any {
	cells := make([]any, len(texts))
	for i, text := range texts {
		cells[i] = text
	}
	return cells
}

// shortDuration rounds a duration to what a person reads.
func shortDuration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

// shorten cuts a text for a table's cell.
func shorten(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}

func ratio(part, whole int) string { return fmt.Sprintf("%d/%d", part, whole) }
