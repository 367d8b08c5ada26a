// Package report writes what a run has measured: a record in JSON, a page in
// Markdown, charts in SVG, and the block between the markers of
// docs/performance.md.
//
// The record keeps the last run of each scenario, with the commit, the machine
// and the settings that it ran with. A run of some scenarios replaces those and
// leaves the others.
package report
