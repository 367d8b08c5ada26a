// Command chaos proves the promise of delivery: it runs real hosts, plugins and
// PostgreSQL under load, injects one fault after the other, each into a world of
// its own, and audits in SQL what became of every message. See `make chaos`.
//
// A row fails when a message was lost or settled twice, when the fault cost more
// than it may (see internal/fault), when normal throughput did not come back, and
// when the fault cannot prove that it happened. The exit code is 1 then.
//
// The recovery of a row is the time from the end of the fault to the first
// second in which nine tenths of the offered load were settled and the backlog
// was back at its usual level (see internal/measure). The worst pickup is the
// longest time from the commit of a send to the start of its handler, in the
// whole run, the fault included.
//
// `chaos soak` lets one world live for long instead, with random faults, and fails
// when something in it grows without end (see internal/soak and `make soak`).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/stephost/stephost/chaos/internal/fault"
	"github.com/stephost/stephost/chaos/internal/table"
	"github.com/stephost/stephost/chaos/internal/trial"
	"github.com/stephost/stephost/chaos/internal/world"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// driver is what the flags say.
type driver struct {
	form, stephost, handler, dir, markdown string
	only                                   []string
	keep                                   bool
	parallel                               int
}

func command() *cobra.Command {
	var d driver
	cmd := &cobra.Command{
		Use:           "chaos",
		Short:         "Inject faults under load and audit what became of every message",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&d.form, "form", "quick", "how long and hard: short, quick or long")
	flags.StringSliceVar(&d.only, "only", nil, "run these faults alone")
	flags.StringVar(&d.stephost, "stephost", "bin/stephost", "the host's program")
	flags.StringVar(&d.handler, "handler", "bin/chaos-handler", "the handler's program")
	flags.StringVar(&d.dir, "dir", "", "where the files of kept worlds go (default: the temporary directory)")
	flags.BoolVar(&d.keep, "keep", false, "keep the files of every world; those of a failed row are kept in any case")
	flags.IntVar(&d.parallel, "parallel", 1, "run so many faults at a time; they disturb each other's times")
	flags.StringVar(&d.markdown, "markdown", "", "also write the table to this file, as markdown")
	cmd.AddCommand(soakCommand())
	list := flags.Bool("list", false, "list the faults and end")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if *list {
			for _, f := range fault.All() {
				fmt.Fprintf(cmd.OutOrStdout(), "%-26s %s\n", f.Name, f.About)
			}
			cmd.RunE = func(*cobra.Command, []string) error { return nil }
		}
		return nil
	}
	return cmd
}

func (d driver) run(ctx context.Context, out io.Writer) error {
	if d.parallel < 1 {
		return fmt.Errorf("--parallel %d: at least one fault must run at a time", d.parallel)
	}
	form, err := world.FormNamed(d.form)
	if err != nil {
		return err
	}
	faults, err := fault.Named(d.only...)
	if err != nil {
		return err
	}
	opts := world.Defaults(form)
	if opts.Stephost, err = program(d.stephost); err != nil {
		return err
	}
	if opts.Handler, err = program(d.handler); err != nil {
		return err
	}
	rows, err := d.rows(ctx, out, faults, opts)
	if err != nil {
		return err
	}
	if d.markdown != "" {
		if err := d.writeMarkdown(form, rows); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, table.Summary(rows))
	failed := 0
	for _, row := range rows {
		if !row.Passed() {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d rows failed", failed, len(rows))
	}
	return nil
}

// rows runs the faults, as many at a time as the flag says, and prints each row
// as soon as it and those before it are known.
func (d driver) rows(ctx context.Context, out io.Writer, faults []fault.Fault, opts world.Options) ([]trial.Outcome, error) {
	rows := make([]trial.Outcome, len(faults))
	done := make([]chan struct{}, len(faults))
	for i := range done {
		done[i] = make(chan struct{})
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(d.parallel + 1) // one of them prints
	group.Go(func() error {
		table.Head(out)
		for i := range rows {
			select {
			case <-done[i]:
				table.Row(out, rows[i])
			case <-ctx.Done():
				return nil
			}
		}
		return nil
	})
	for i, f := range faults {
		group.Go(func() (err error) {
			if ctx.Err() != nil {
				return nil
			}
			defer close(done[i])
			rows[i], err = d.row(ctx, f, opts)
			return err
		})
	}
	return rows, group.Wait()
}

// row runs one fault in a directory of its own.
func (d driver) row(ctx context.Context, f fault.Fault, opts world.Options) (trial.Outcome, error) {
	var err error
	if opts.Dir, err = os.MkdirTemp(d.dir, "chaos-"+f.Name+"-"); err != nil {
		return trial.Outcome{}, err
	}
	row := trial.Run(ctx, f, opts)
	if ctx.Err() != nil {
		return row, errors.Join(errors.New("interrupted"), os.RemoveAll(opts.Dir))
	}
	if d.keep || !row.Passed() {
		fmt.Fprintln(os.Stderr, "files of", f.Name, "are in", opts.Dir)
		return row, nil
	}
	return row, os.RemoveAll(opts.Dir)
}

// program finds an executable and gives its absolute path: hosts have
// directories of their own.
func program(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(abs); err != nil || info.IsDir() {
		return "", fmt.Errorf("there is no program %s: `make chaos` builds it", path)
	}
	return abs, nil
}

func (d driver) writeMarkdown(form world.Form, rows []trial.Outcome) error {
	file, err := os.Create(d.markdown)
	if err != nil {
		return err
	}
	origin := fmt.Sprintf("Form %s, leases of %s, %d messages per second; %s; commit %s, %s.",
		form.Name, form.Lease, form.Rate, machine(), commit(), time.Now().UTC().Format("2006-01-02 15:04 MST"))
	return errors.Join(table.Markdown(file, strings.TrimSpace(origin), rows), file.Close())
}
