package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host/conformance"
)

func (a *app) pluginCheckCommand() *cobra.Command {
	o := alone{app: a}
	var (
		steps, inputs, only []string
		patience            time.Duration
		list, verbose       bool
	)
	cmd := &cobra.Command{
		Use:   "check PATH [ARG...]",
		Short: "Check an executable plugin, in any language, against the plugin protocol",
		Long: `Start an executable as a host does, speak the plugin protocol to it, and say which
clause of the protocol it keeps and which it breaks. No host and no database are
needed.

` + aloneHelp + `

The plugin's steps are run for real, with the input {} or with the one that is
given: --step NAME --input JSON, as often as needed, in pairs. Whatever a handler
answers is fine. For clauses about cancellation, time-outs and drain, give an input
with which a step runs for a second.

The exit code is 1 when a must is broken. A broken should is only shown.`,
		Example: `  stephost plugin check bin/plugins/orders
  stephost plugin check orders --step charge --input '{"amount_cents": 100}'
  stephost plugin check /usr/bin/node plugin.mjs --tls off --config-json '{"currency": "EUR"}'
  stephost plugin check ./plugin.py --clause drain.running --step wait --input '{"ms": 1000}'`,
		Args: arguments(func(cmd *cobra.Command, args []string) error {
			if list {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.MinimumNArgs(1)(cmd, args)
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			if list {
				return a.printClauses()
			}
			samples, err := o.samples(cmd, steps, inputs)
			if err != nil {
				return err
			}
			logger := hclog.NewNullLogger()
			if verbose {
				logger = o.pluginLogger(hclog.Trace)
			}
			defer o.close()
			spec, deps, err := o.open(cmd, args, logger)
			if err != nil {
				return err
			}
			options := conformance.Options{Spec: spec, Deps: deps, Samples: samples, Patience: patience, Only: only}
			if !a.json {
				options.OnFinding = a.printFinding
			}
			report, err := conformance.Check(cmd.Context(), options)
			if err != nil {
				return err
			}
			return a.printConformance(report)
		},
	}
	o.register(cmd)
	// Inputs have commas of their own.
	cmd.Flags().StringArrayVar(&steps, "step", nil, "a step to run with the --input that belongs to it")
	cmd.Flags().StringArrayVar(&inputs, "input", nil, "its input: a JSON object, @FILE, or - for standard input")
	cmd.Flags().StringArrayVar(&only, "clause", nil, "check this clause only; may be given again")
	cmd.Flags().DurationVar(&patience, "patience", 10*time.Second, "how long to wait for any answer")
	cmd.Flags().BoolVar(&list, "list", false, "show the clauses and check nothing")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show what the plugin logs, on standard error")
	return cmd
}

// samples pairs --step with --input.
func (o *alone) samples(cmd *cobra.Command, steps, inputs []string) ([]conformance.Sample, error) {
	if len(steps) != len(inputs) {
		return nil, usagef(cmd, "each --step wants one --input, but there are %d and %d", len(steps), len(inputs))
	}
	var samples []conformance.Sample
	for n, step := range steps {
		input, err := o.text(inputs[n])
		if err != nil {
			return nil, usagef(cmd, "read the input of %s: %w", step, err)
		}
		samples = append(samples, conformance.Sample{Step: step, Input: input})
	}
	return samples, nil
}

// pluginLogger shows what a plugin logs.
func (a *app) pluginLogger(level hclog.Level) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: level, Output: a.stderr, DisableTime: true})
}

func (a *app) printClauses() error {
	clauses := conformance.Clauses()
	if a.json {
		return a.printJSON(clauses)
	}
	for _, c := range clauses {
		if err := a.printf("%-24s %-6s  %s\n%s\n", c.ID, c.Severity, c.Title, indented(c.Demand)); err != nil {
			return err
		}
	}
	return nil
}

// indented breaks a text into lines for a terminal.
func indented(text string) string {
	const width, indent = 100, "    "
	var b strings.Builder
	line := indent
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width && line != indent {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return b.String() + line
}

// printFinding shows one clause. An output that is broken shows at the report.
//
// What was skipped for a broken one is summed up at the end.
func (a *app) printFinding(f conformance.Finding) {
	if f.Cause != "" {
		return
	}
	word := map[conformance.Outcome]string{conformance.Kept: "ok", conformance.Broken: "FAIL", conformance.Skipped: "skip"}[f.Outcome]
	if f.Outcome == conformance.Broken && f.Severity == conformance.Should {
		word = "warn"
	}
	text := f.Title
	if f.Note != "" {
		text += " (" + f.Note + ")"
	}
	_ = a.printf("%-4s  %-24s  %s\n", word, f.ID, text)
	if f.Outcome != conformance.Broken {
		return
	}
	for _, row := range [][2]string{{"demands", f.Demand}, {"expected", f.Expected}, {"seen", f.Seen}, {"hint", f.Hint}, {"stderr", lastOf(f.Stderr)}} {
		if row[1] != "" {
			_ = a.printf("      %-9s %s\n", row[0]+":", strings.ReplaceAll(row[1], "\n", "\n                "))
		}
	}
}

// lastOf are the last of the lines that a plugin wrote.
func lastOf(lines []string) string {
	const most = 20
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// printConformance sums up. Its error, where the plugin does not conform, only
// carries the exit code.
func (a *app) printConformance(r *conformance.Report) error {
	var err error
	if a.json {
		err = a.printJSON(map[string]any{"conforms": r.Conforms(), "plugin": r.Plugin, "version": r.Version, "findings": r.Findings})
	} else {
		err = a.printf("%s\n%s\n", unchecked(r), reportText(r))
	}
	if err == nil && !r.Conforms() {
		return &reportedError{code: ExitFailure}
	}
	return err
}

// unchecked has a line for each broken clause for which others were skipped.
func unchecked(r *conformance.Report) string {
	skipped := make(map[string]int)
	for _, f := range r.Findings {
		skipped[f.Cause]++
	}
	var text string
	for _, f := range r.Broken() {
		if n := skipped[f.ID]; n > 0 {
			text += fmt.Sprintf("skip  %-24s  %d clauses that need it were not checked\n", f.ID, n)
		}
	}
	return text
}

func reportText(r *conformance.Report) string {
	name := strings.TrimSpace(r.Plugin + " " + r.Version)
	if name == "" {
		name = "the plugin"
	}
	verdict := "conforms"
	if !r.Conforms() {
		verdict = "does not conform"
	}
	counts := []string{fmt.Sprintf("%d kept", r.Count(conformance.Kept, conformance.Must)+r.Count(conformance.Kept, conformance.Should))}
	for _, part := range []struct {
		n    int
		text string
	}{
		{r.Count(conformance.Broken, conformance.Must), "failed"},
		{r.Count(conformance.Broken, conformance.Should), "warned about"},
		{r.Count(conformance.Skipped, conformance.Must) + r.Count(conformance.Skipped, conformance.Should), "skipped"},
	} {
		if part.n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", part.n, part.text))
		}
	}
	return fmt.Sprintf("%s %s: %s", name, verdict, strings.Join(counts, ", "))
}
