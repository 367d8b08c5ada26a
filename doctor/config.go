package doctor

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/internal/checkup"
)

// config tells what is wrong with the file.
func (e *exam) config(context.Context) ([]Finding, error) {
	if e.Config == nil {
		return nil, checkup.Skip("there is no configuration file: name one with --config")
	}
	found := diagnosed(e.Diagnostics, "a host refuses this file")
	if len(found) == 0 {
		return checkup.Fine("valid: %d plugins, %d namespaces", len(e.Config.Plugins), len(e.Config.Namespaces)), nil
	}
	return found, nil
}

// diagnosed turns diagnostics into findings. The source line stays out, since
// anything may be in it.
func diagnosed(diags hcl.Diagnostics, why string) []Finding {
	var found []Finding
	for _, diag := range diags {
		f := Finding{Severity: checkup.Error, Seen: diag.Summary, Why: why}
		if diag.Severity == hcl.DiagWarning {
			f.Severity, f.Why = checkup.Warning, "the host says so too, when it reads the file"
		}
		where := "the file"
		if diag.Subject != nil {
			where = place(*diag.Subject)
			f.Seen += " at " + where
		}
		f.Fixes = []checkup.Fix{advice(strings.TrimSpace(fmt.Sprintf("change %s: %s", where, diag.Detail)))}
		found = append(found, f)
	}
	return found
}

func place(r hcl.Range) string {
	return fmt.Sprintf("%s:%d,%d", r.Filename, r.Start.Line, r.Start.Column)
}

func (e *exam) needConfig() error {
	if e.cfg == nil {
		return checkup.Skip("there is no valid configuration file")
	}
	return nil
}

// namespaces finds plugins that get no work. A namespace without a plugin is no
// valid configuration.
func (e *exam) namespaces(context.Context) ([]Finding, error) {
	if err := e.needConfig(); err != nil {
		return nil, err
	}
	var found []Finding
	for _, p := range e.cfg.Plugins {
		if slices.ContainsFunc(e.cfg.Namespaces, func(n config.Namespace) bool { return n.Plugin == p.Name }) {
			continue
		}
		found = append(found, Finding{
			Severity: checkup.Warning, Seen: fmt.Sprintf("plugin %q at %s has no namespace, and so no queue", p.Name, place(p.DeclRange)),
			Why:   "it runs and never gets a step",
			Fixes: []checkup.Fix{edit(fmt.Sprintf("namespace %q {\n  plugin = %q\n}", p.Name, p.Name))},
		})
	}
	if len(found) == 0 {
		return checkup.Fine("every plugin has a namespace"), nil
	}
	return found, nil
}

// programs looks at the plugins' files.
func (e *exam) programs(context.Context) ([]Finding, error) {
	if err := e.needConfig(); err != nil {
		return nil, err
	}
	var found []Finding
	for _, p := range e.cfg.Plugins {
		if f, wrong := program(p); wrong {
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		return checkup.Fine("the programs of %d plugins are there and executable", len(e.cfg.Plugins)), nil
	}
	return found, nil
}

func program(p config.Plugin) (Finding, bool) {
	f := Finding{Severity: checkup.Error, Why: "the plugin cannot start, and its namespaces get no steps"}
	info, err := os.Stat(p.Command)
	switch {
	case err != nil:
		f.Seen = fmt.Sprintf("the program of plugin %q at %s cannot be used: %v", p.Name, place(p.CommandRange), err)
		f.Fixes = []checkup.Fix{edit(fmt.Sprintf("plugin %q {\n  command = \"PATH\"\n}", p.Name)), advice("or install the program there")}
	case info.IsDir():
		f.Seen = fmt.Sprintf("the command of plugin %q at %s is a directory, %s", p.Name, place(p.CommandRange), p.Command)
		f.Fixes = []checkup.Fix{advice("build the program in it and name that; only `stephost dev` builds packages")}
	case info.Mode()&0o111 == 0:
		f.Seen = fmt.Sprintf("the program of plugin %q, %s, is not executable", p.Name, p.Command)
		f.Fixes = []checkup.Fix{command("chmod +x " + quoted(p.Command))}
	default:
		return f, false
	}
	return f, true
}

// quoted makes a path one word for the shell.
func quoted(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }
