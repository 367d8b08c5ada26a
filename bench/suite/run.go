package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stephost/stephost/bench/suite/internal/report"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// flags are the command line.
type flags struct {
	quick, list bool
	only        string
	rounds      int
	bin         string
	out, docs   string
	server      string
}

func parse(args []string) (f flags, err error) {
	set := flag.NewFlagSet("suite", flag.ContinueOnError)
	set.BoolVar(&f.quick, "quick", false, "fewer steps, rounds and scenarios, in under two minutes")
	set.BoolVar(&f.list, "list", false, "list the scenarios")
	set.StringVar(&f.only, "only", "", "run these scenarios, separated by commas")
	set.IntVar(&f.rounds, "rounds", 0, "how often contenders take turns (default: 5, with --quick 3)")
	set.StringVar(&f.bin, "bin", "bin", "directory of the built programs")
	set.StringVar(&f.out, "out", "bench/results", "directory for the results")
	set.StringVar(&f.docs, "docs", "docs/performance.md", "page whose block of figures the full form replaces")
	set.StringVar(&f.server, "server", "", "settings of PostgreSQL to try out, as name=value, separated by commas; the report names them")
	if err := set.Parse(args); err != nil {
		return f, err
	}
	if set.NArg() > 0 {
		return f, fmt.Errorf("there are no arguments, only flags: %q", set.Args())
	}
	return f, nil
}

func run(ctx context.Context, args []string) error {
	f, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if f.list {
		for _, s := range scenarios() {
			fmt.Printf("%-16s %s\n", s.Name, s.About)
		}
		return nil
	}
	form := suite.Full
	if f.quick {
		form = suite.Quick
	}
	chosen, err := choose(f.only, form)
	if err != nil {
		return err
	}
	figures, err := f.measure(ctx, form, chosen)
	if err != nil {
		return err
	}
	for _, figure := range figures {
		fmt.Println(figure.Line())
	}
	return nil
}

// choose returns the scenarios to run, in their own order.
func choose(only string, form suite.Form) ([]suite.Scenario, error) {
	all := scenarios()
	if only == "" {
		return slices.DeleteFunc(all, func(s suite.Scenario) bool { return s.FullOnly && form == suite.Quick }), nil
	}
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if !slices.ContainsFunc(all, func(s suite.Scenario) bool { return s.Name == name }) {
			return nil, fmt.Errorf("there is no scenario %q: --list names them", name)
		}
	}
	return slices.DeleteFunc(all, func(s suite.Scenario) bool { return !slices.Contains(wanted, s.Name) }), nil
}

// measure runs the scenarios on one server. What was measured before one fails
// is kept.
func (f flags) measure(ctx context.Context, form suite.Form, chosen []suite.Scenario) (figures []suite.Figure, err error) {
	programs, err := f.programs()
	if err != nil {
		return nil, err
	}
	log := hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Info, TimeFormat: "15:04:05"})
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.Name)
	}
	server, err := settings(f.server)
	if err != nil {
		return nil, err
	}
	record, err := report.Load(f.out, form)
	if err != nil {
		return nil, err
	}
	env, err := suite.Start(ctx, suite.Options{Form: form, Rounds: f.rounds, Programs: programs, Server: server, Log: log})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, env.Stop(context.WithoutCancel(ctx))) }()
	machine, err := report.Describe(ctx, env, commit(ctx))
	if err != nil {
		return nil, err
	}
	if machine.InMemory() {
		log.Warn("the server's files are in memory, so nothing waits for a disk: set TMPDIR to a directory that is on one")
	}
	for _, s := range chosen {
		log.Info("measuring", "scenario", s.Name, "about", s.About)
		began := time.Now()
		result, err := s.Run(ctx, env)
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %w", s.Name, err)
		}
		figures = append(figures, result.Figures...)
		record.Add(report.Entry{
			Scenario: s.Name, About: s.About, At: began, Seconds: time.Since(began).Seconds(), Rounds: env.Rounds, Machine: machine, Result: result,
		}, names)
		if err := f.write(record); err != nil {
			return nil, fmt.Errorf("write the results: %w", err)
		}
	}
	return figures, nil
}

func (f flags) write(record report.Record) error {
	if err := record.Write(f.out); err != nil {
		return err
	}
	if record.Form != suite.Full || f.docs == "" {
		return nil
	}
	charts, err := filepath.Rel(filepath.Dir(f.docs), f.out)
	if err != nil {
		return err
	}
	return record.ReplaceBlocks(f.docs, filepath.ToSlash(charts)+"/")
}

func (f flags) programs() (p suite.Programs, err error) {
	if p.Self, err = os.Executable(); err != nil {
		return p, fmt.Errorf("find this program: %w", err)
	}
	bin, err := filepath.Abs(f.bin)
	if err != nil {
		return p, err
	}
	p.Stephost, p.Noop = filepath.Join(bin, "stephost"), filepath.Join(bin, "plugins", "noop")
	for _, program := range []string{p.Stephost, p.Noop} {
		if _, err := os.Stat(program); err != nil {
			return p, fmt.Errorf("%w: build it with `make build`", err)
		}
	}
	return p, nil
}

func settings(text string) (map[string]string, error) {
	all := make(map[string]string)
	for setting := range strings.SplitSeq(text, ",") {
		if setting == "" {
			continue
		}
		name, value, found := strings.Cut(setting, "=")
		if !found {
			return nil, fmt.Errorf("--server: %q is not name=value", setting)
		}
		all[name] = value
	}
	return all, nil
}

// commit names what is measured; it is not known outside of a clone. What a run
// writes does not make the next one's commit another.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always").Output()
	if err != nil {
		return "of an unknown commit"
	}
	name := strings.TrimSpace(string(out))
	changes, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no", "--",
		":(top)", ":(top,exclude)bench/results", ":(top,exclude)docs/performance.md").Output()
	if err != nil || len(changes) > 0 {
		name += "-dirty"
	}
	return name
}
