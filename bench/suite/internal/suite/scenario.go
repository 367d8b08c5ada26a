package suite

import "context"

// Scenario is one named measurement.
type Scenario struct {
	// Name is what --only takes: lower case, with hyphens.
	Name string
	// About says in one line what is measured.
	About string
	// FullOnly leaves it out of the quick form, unless it is asked for by name.
	FullOnly bool
	// Run measures. It stops when ctx ends.
	Run func(ctx context.Context, env *Env) (Result, error)
}

// Result is what a scenario found out.
type Result struct {
	Figures []Figure `json:"figures"`
	// Notes are lines for the report: settings that were found best, what a
	// reader has to know.
	Notes []string `json:"notes,omitempty"`
	// Tables are details, such as a sweep.
	Tables []Table `json:"tables,omitempty"`
	Charts []Chart `json:"charts,omitempty"`
	// Block is the name of a block of its own in docs/performance.md, for a scenario
	// that a part of that page is about: its tables and charts are there.
	Block string `json:"block,omitempty"`
}

// Table is a table of the report.
type Table struct {
	Title  string     `json:"title"`
	Header []string   `json:"header"`
	Rows   [][]string `json:"rows"`
}

// Chart is a bar chart of the report.
type Chart struct {
	// Name is its file's, without the suffix.
	Name  string `json:"name"`
	Title string `json:"title"`
	Unit  string `json:"unit"`
	Bars  []Bar  `json:"bars"`
}

// Bar is a bar of a chart, with its spread.
type Bar struct {
	Label string  `json:"label"`
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}
