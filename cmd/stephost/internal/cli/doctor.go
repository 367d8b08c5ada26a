package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/stephost/stephost/doctor"
	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/internal/checkup"
)

const doctorHelp = `Find what is wrong with the configuration, its plugins, this machine, the
database and the running host, and say what helps. Nothing is changed: of plugins
a process each is started and stopped, the database is only read, and queues are
announced once without a message.

A finding is an error when steps do not run because of it, a warning when it costs
time, space or safety. The exit code is 1 when there is an error, and otherwise 0.
What could not be checked is listed with the reason.`

func (a *app) doctorCommand() *cobra.Command {
	var (
		db             databaseFlags
		noPlugins, all bool
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find what is wrong with the database, the configuration or a plugin, and the fix",
		Long:  doctorHelp,
		Args:  arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := a.examined(db)
			if err != nil {
				return err
			}
			options.SkipPlugins = noPlugins
			found := doctor.Examine(cmd.Context(), options)
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			a.aim(found, db, options)
			if err := a.printFindings(found, all); err != nil {
				return err
			}
			if checkup.Worst(found) == checkup.Error {
				return &reportedError{code: ExitFailure}
			}
			return nil
		},
	}
	db.register(cmd)
	cmd.Flags().BoolVar(&noPlugins, "no-plugins", false, "do not start the plugins")
	cmd.Flags().BoolVar(&all, "all", false, "also show what is as it should be")
	return a.adminFlag(cmd)
}

// examined gathers what there is. What is wrong with it is for the doctor to
// say, so a file that is not valid is no error.
func (a *app) examined(db databaseFlags) (doctor.Options, error) {
	var options doctor.Options
	if _, err := os.Stat(a.configPath); !errors.Is(err, fs.ErrNotExist) || a.configGiven {
		options.Config, options.Diagnostics = config.Load(a.configPath, config.WithFileChecks(false), config.WithPackages())
	}
	valid := options.Config
	if options.Diagnostics.HasErrors() {
		valid = nil
	}
	options.DSN, options.Origin = a.namedDatabase(db, valid)
	var err error
	if options.Host, err = a.hostOptions(options.Config, hclog.NewNullLogger()); err != nil {
		return options, err
	}
	client, err := a.clientOf(valid)
	if err != nil {
		return options, err
	}
	options.Status = func(ctx context.Context) (admin.Status, error) { return client.Status(ctx) }
	return options, nil
}

// aim makes the commands among the fixes lead to the file, the database and the
// host that were looked at, where they would find others by themselves.
func (a *app) aim(found []checkup.Finding, db databaseFlags, looked doctor.Options) {
	var config, database, host string
	if a.configGiven {
		config = typedFlag("config", a.configPath)
	}
	if env := os.Getenv("DATABASE_URL"); db.dsn != "" || looked.Origin == a.configPath && env != "" && env != looked.DSN {
		database = typedFlag("dsn", withoutPassword(looked.DSN))
	}
	if a.adminAddr != "" {
		host = typedFlag("admin", a.adminAddr)
	}
	for _, f := range found {
		for i, fix := range f.Fixes {
			words := strings.Fields(fix.Text)
			if fix.Kind != checkup.Command || len(words) < 2 || words[0] != "stephost" {
				continue
			}
			switch flags := config; words[1] {
			case "queue", "dead":
				f.Fixes[i].Text = withFlags(fix.Text, flags+database)
			case "status", "namespace", "plugin":
				if len(words) < 3 || words[2] != "check" { // which asks no host
					flags += host
				}
				f.Fixes[i].Text = withFlags(fix.Text, flags)
			default:
				f.Fixes[i].Text = withFlags(fix.Text, flags)
			}
		}
	}
}

// namedDatabase finds the database that a host would use: unlike other
// commands, it prefers the file.
func (a *app) namedDatabase(db databaseFlags, cfg *config.Config) (dsn, origin string) {
	if db.dsn != "" {
		return db.dsn, "--dsn"
	}
	if cfg != nil && cfg.Queue.DSN != "" {
		return cfg.Queue.DSN.Reveal(), a.configPath
	}
	if dsn := os.Getenv("DATABASE_URL"); dsn != "" {
		return dsn, "DATABASE_URL"
	}
	if state, ok := readDevState(a.stateDir()); ok && state.DSN != "" {
		return state.DSN, "a running `stephost dev`"
	}
	return "", ""
}

// diagnosis is what the command prints for programs.
type diagnosis struct {
	Worst    checkup.Severity         `json:"worst"`
	Counts   map[checkup.Severity]int `json:"counts"`
	Findings []checkup.Finding        `json:"findings"`
}

func (a *app) printFindings(found []checkup.Finding, all bool) error {
	d := diagnosis{Worst: checkup.Worst(found), Counts: map[checkup.Severity]int{}, Findings: found}
	for _, f := range found {
		d.Counts[f.Severity]++
	}
	if a.json {
		return a.printJSON(d)
	}
	for _, f := range found {
		if f.Severity == checkup.Error || f.Severity == checkup.Warning {
			if err := a.printf("%s", findingText(f)); err != nil {
				return err
			}
		}
	}
	for _, f := range found {
		if f.Severity == checkup.OK && all {
			if err := a.printf("ok %s: %s\n", f.Check, f.Seen); err != nil {
				return err
			}
		}
	}
	if err := a.printf("%s", skippedText(found)); err != nil {
		return err
	}
	return a.printf("%s, %s, %d ok, %d not checked\n", countOf(int64(d.Counts[checkup.Error]), "error"), countOf(int64(d.Counts[checkup.Warning]), "warning"),
		d.Counts[checkup.OK], d.Counts[checkup.Skipped])
}

// findingText shows a finding with its fixes, each on a line that can be
// pasted whole.
func findingText(f checkup.Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s\n", strings.ToUpper(string(f.Severity)), f.Check, strings.Join(strings.Fields(f.Seen), " "))
	fmt.Fprintf(&b, "  why: %s\n", f.Why)
	for _, fix := range f.Fixes {
		label := map[checkup.FixKind]string{
			checkup.SQL: "fix, in SQL", checkup.Command: "fix, in a shell", checkup.Edit: "fix, in the configuration", checkup.Advice: "fix",
		}[fix.Kind]
		if fix.Kind == checkup.Advice {
			fmt.Fprintf(&b, "  %s: %s\n", label, strings.Join(strings.Fields(fix.Text), " "))
			continue
		}
		fmt.Fprintf(&b, "  %s:\n    %s\n", label, strings.ReplaceAll(fix.Text, "\n", "\n    "))
	}
	b.WriteString("\n")
	return b.String()
}

// skippedText names what could not be checked, once for each reason.
func skippedText(found []checkup.Finding) string {
	var reasons []string
	checks := map[string][]string{}
	for _, f := range found {
		if f.Severity != checkup.Skipped {
			continue
		}
		if checks[f.Seen] == nil {
			reasons = append(reasons, f.Seen)
		}
		checks[f.Seen] = append(checks[f.Seen], f.Check)
	}
	var b strings.Builder
	for _, reason := range reasons {
		fmt.Fprintf(&b, "not checked: %s: %s\n", strings.Join(checks[reason], ", "), oneLine(errors.New(reason)))
	}
	return b.String()
}
