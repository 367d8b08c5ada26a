package report

import (
	"fmt"
	"strings"

	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// page is the record as Markdown, with all details.
func (r *Record) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Results of `make %s`\n\nWritten by the run; docs/performance.md says how to read it.\n\n", target(r.Form))
	b.WriteString(r.figures(""))
	for _, e := range r.Entries {
		fmt.Fprintf(&b, "## %s\n\n%s. %d rounds, %.0f s, at %s.\n\n", e.Scenario, upper(e.About), e.Rounds, e.Seconds, e.At.UTC().Format("2006-01-02 15:04 MST"))
		for _, note := range e.Result.Notes {
			fmt.Fprintf(&b, "- %s\n", note)
		}
		if len(e.Result.Notes) > 0 {
			b.WriteByte('\n')
		}
		for _, t := range e.Result.Tables {
			fmt.Fprintf(&b, "%s:\n\n%s\n", t.Title, markdown(t.Header, t.Rows))
		}
		if e.Result.Block != "" {
			r.charts(&b, e, "")
		}
	}
	return b.String()
}

func target(f suite.Form) string {
	if f == suite.Full {
		return "bench"
	}
	return "bench-" + string(f)
}

// figures is the table of all figures, the charts, and where they come from.
// charts is the way from the page to the results' directory.
func (r *Record) figures(charts string) string {
	var b strings.Builder
	var rows [][]string
	for _, e := range r.Entries {
		for _, f := range e.Result.Figures {
			if !f.Aside {
				rows = append(rows, figureRow(e.Scenario, f))
			}
		}
	}
	b.WriteString(markdown([]string{"scenario", "figure", "value", "unit", "least – most", "MAD", "bar", "stretch", ""}, rows))
	b.WriteByte('\n')
	for _, e := range r.Entries {
		if e.Result.Block == "" {
			r.charts(&b, e, charts)
		}
	}
	b.WriteString(r.machines())
	return b.String()
}

func (r *Record) charts(b *strings.Builder, e Entry, way string) {
	for _, c := range e.Result.Charts {
		fmt.Fprintf(b, "![%s](%s%s)\n\n", c.Title, way, chartFile(r.Form, c))
	}
}

// details are the tables and charts of a scenario.
func (r *Record) details(e Entry, charts string) string {
	var b strings.Builder
	for _, t := range e.Result.Tables {
		fmt.Fprintf(&b, "%s\n", markdown(t.Header, t.Rows))
	}
	r.charts(&b, e, charts)
	return b.String()
}

func figureRow(scenario string, f suite.Figure) []string {
	row := []string{scenario, "`" + f.Name + "`", suite.Number(f.Value), f.Unit, "", "", "", "", ""}
	if f.N > 1 {
		row[4] = suite.Number(f.Low) + " – " + suite.Number(f.High)
		row[5] = suite.Number(f.MAD)
	}
	if g := f.Goal; g != nil {
		sign := "≥ "
		if g.Below {
			sign = "≤ "
		}
		row[6] = sign + suite.Number(g.Bar)
		if g.Stretch != 0 {
			row[7] = sign + suite.Number(g.Stretch)
		}
		row[8] = f.Verdict()
	}
	return row
}

// machines says once for each machine and commit which scenarios ran there.
func (r *Record) machines() string {
	var order []string
	scenarios := make(map[string][]string)
	for _, e := range r.Entries {
		m := e.Machine
		text := fmt.Sprintf("stephost %s, PostgreSQL %s, Go %s, River %s; %d × %s, %.0f GB, %s, data on %s; server settings: %s",
			m.Commit, m.PostgreSQL, strings.TrimPrefix(m.Go, "go"), m.River, m.Cores, m.CPU, m.MemoryGB, m.Kernel, m.Filesystem, strings.Join(m.Settings, ", "))
		if scenarios[text] == nil {
			order = append(order, text)
		}
		scenarios[text] = append(scenarios[text], e.Scenario)
	}
	var b strings.Builder
	for _, text := range order {
		if len(order) > 1 {
			fmt.Fprintf(&b, "%s: ", strings.Join(scenarios[text], ", "))
		}
		fmt.Fprintf(&b, "%s.\n\n", text)
	}
	return b.String()
}

func markdown(header []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) {
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	line(header)
	b.WriteString(strings.Repeat("|---", len(header)) + "|\n")
	for _, row := range rows {
		line(row)
	}
	return b.String()
}

func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
