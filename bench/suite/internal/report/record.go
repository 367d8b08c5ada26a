package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// Record is the last run of each scenario in one form.
type Record struct {
	Form    suite.Form `json:"form"`
	Entries []Entry    `json:"scenarios"`
}

// Entry is one scenario's run.
type Entry struct {
	Scenario string       `json:"scenario"`
	About    string       `json:"about"`
	At       time.Time    `json:"at"`
	Seconds  float64      `json:"seconds"`
	Rounds   int          `json:"rounds"`
	Machine  Machine      `json:"machine"`
	Result   suite.Result `json:"result"`
}

// Load reads a record; none is an empty one.
func Load(dir string, form suite.Form) (Record, error) {
	r := Record{Form: form}
	text, err := os.ReadFile(path(dir, form, ".json"))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("read the results of earlier runs: %w", err)
	}
	return r, nil
}

// Add replaces the entry of the scenario. The entries keep the order of names.
func (r *Record) Add(e Entry, names []string) {
	byName := map[string]Entry{e.Scenario: e}
	for _, old := range r.Entries {
		if old.Scenario != e.Scenario {
			byName[old.Scenario] = old
		}
	}
	r.Entries = nil
	for _, name := range names {
		if entry, ok := byName[name]; ok {
			r.Entries = append(r.Entries, entry)
		}
	}
}

// Write writes all files of the record.
func (r *Record) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	files := map[string][]byte{
		path(dir, r.Form, ".json"): append(text, '\n'),
		path(dir, r.Form, ".md"):   []byte(r.page()),
	}
	for _, e := range r.Entries {
		for _, c := range e.Result.Charts {
			files[filepath.Join(dir, chartFile(r.Form, c))] = draw(c)
		}
	}
	for name, content := range files {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func path(dir string, form suite.Form, suffix string) string {
	return filepath.Join(dir, string(form)+suffix)
}

// chartFile is a chart's file name. The full form's are those that pages show.
func chartFile(form suite.Form, c suite.Chart) string {
	if form == suite.Full {
		return c.Name + ".svg"
	}
	return string(form) + "-" + c.Name + ".svg"
}
