package report

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/bench/suite/internal/suite"
)

func entry(scenario string, value float64) Entry {
	return Entry{Scenario: scenario, About: "a thing", Machine: Machine{Commit: scenario}, Result: suite.Result{
		Figures: []suite.Figure{{Name: scenario + "_x", Value: value, Unit: "x", Goal: suite.AtLeast(2, 3)}},
		Charts:  []suite.Chart{{Name: scenario, Title: "A < B", Unit: "x", Bars: []suite.Bar{{Label: "a&b", Value: 2, Low: 1, High: 3}}}},
	}}
}

func TestRunOfSomeScenariosLeavesTheOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	names := []string{"first", "second", "third"}
	for _, run := range [][]Entry{{entry("third", 1), entry("first", 2)}, {entry("third", 3)}} {
		record, err := Load(dir, suite.Full)
		require.NoError(t, err)
		for _, e := range run {
			record.Add(e, names)
		}
		require.NoError(t, record.Write(dir))
	}
	record, err := Load(dir, suite.Full)
	require.NoError(t, err)
	require.Len(t, record.Entries, 2)
	require.Equal(t, "first", record.Entries[0].Scenario)
	require.InDelta(t, 3, record.Entries[1].Result.Figures[0].Value, 0)

	page, err := os.ReadFile(filepath.Join(dir, "full.md"))
	require.NoError(t, err)
	require.Contains(t, string(page), "| first | `first_x` | 2.00 | x |  |  | ≥ 2.00 | ≥ 3.00 | pass |")
	require.Contains(t, string(page), "| third | `third_x` | 3.00 | x |  |  | ≥ 2.00 | ≥ 3.00 | stretch |")
	chart, err := os.ReadFile(filepath.Join(dir, "third.svg"))
	require.NoError(t, err)
	require.Contains(t, string(chart), "A &lt; B")
}

func TestOnlyTheBlockOfAPageIsReplaced(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "page.md")
	record := Record{Form: suite.Full}
	require.NoError(t, record.ReplaceBlocks(page, ""), "a page that is not there")
	require.NoFileExists(t, page)

	require.NoError(t, os.WriteFile(page, []byte("before\n"+begin("figures")+"\nold\n"+end("figures")+"\nafter\n"+begin("own")+"\nold\n"+end("own")), 0o600))
	apart := entry("second", 2)
	apart.Result.Block = "own"
	apart.Result.Figures[0].Aside = true
	apart.Result.Tables = []suite.Table{{Header: []string{"knob"}, Rows: [][]string{{"turned"}}}}
	record.Add(entry("first", 1), []string{"first"})
	record.Add(apart, []string{"first", "second"})
	require.NoError(t, record.ReplaceBlocks(page, "../results/"))
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Regexp(t, `(?s)^before\n`+begin("figures")+`\n\n.*`+"`first_x` \\| 1.00.* short .*\\(../results/first.svg\\)"+`.*\n\n`+end("figures")+`\nafter\n`+begin("own")+`\n\n\| knob \|.*turned.*\(../results/second.svg\)\n\n`+end("own")+"$", string(text))
	require.NotContains(t, string(text), "old")
	require.NotContains(t, string(text), "second_x", "a figure aside")

	require.NoError(t, os.WriteFile(page, []byte("no markers"), 0o600))
	require.ErrorContains(t, record.ReplaceBlocks(page, ""), "no block of figures")
}
