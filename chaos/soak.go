package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/chaos/internal/soak"
	"github.com/stephost/stephost/chaos/internal/world"
)

// soaker is what the flags of a soak say.
type soaker struct {
	stephost, handler, out string
	duration               time.Duration
	seed                   uint64
	rate, leak             int
	only                   []string
}

func soakCommand() *cobra.Command {
	var s soaker
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "Run a constant load with random faults and see that nothing grows",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.DurationVar(&s.duration, "duration", time.Hour, "how long the load runs; Ctrl-C ends it early, with a report")
	flags.Uint64Var(&s.seed, "seed", rand.Uint64(), "the seed of an earlier soak deals the same faults again")
	flags.IntVar(&s.rate, "rate", soak.Form().Rate, "messages per second")
	flags.StringSliceVar(&s.only, "only", nil, "deal these faults alone: "+strings.Join(soak.Faults(), ", "))
	flags.IntVar(&s.leak, "leak", 0, "let the handlers leak so many bytes with each step, to see the soak fail")
	flags.StringVar(&s.out, "out", "", "write all measurements to this file, as CSV")
	flags.StringVar(&s.stephost, "stephost", "bin/stephost", "the host's program")
	flags.StringVar(&s.handler, "handler", "bin/chaos-handler", "the handler's program")
	// What is random is no default to tell.
	flags.Lookup("seed").DefValue = "random"
	return cmd
}

const (
	// shortest is as long as each window of what is judged has measurements.
	shortest = time.Minute
	// settled is how long a run takes whose warm-up is over when it is judged.
	settled = 10 * time.Minute
)

func (s soaker) run(ctx context.Context, out io.Writer) error {
	if s.duration < shortest {
		return fmt.Errorf("a soak of %v is too short to tell what grows: let it run for %v or longer", s.duration, shortest)
	}
	// The second Ctrl-C ends the driver, and with it everything else.
	defer context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt, syscall.SIGTERM) })()
	form := soak.Form()
	form.Rate = s.rate
	opts := world.Defaults(form)
	opts.Leak = s.leak
	var err error
	if opts.Stephost, err = program(s.stephost); err != nil {
		return err
	}
	if opts.Handler, err = program(s.handler); err != nil {
		return err
	}
	if opts.Dir, err = os.MkdirTemp("", "soak-"); err != nil {
		return err
	}
	soak.Shape(&opts)
	fmt.Fprintf(out, "soak for %v with %d messages per second, seed %d\n%s; commit %s\n", s.duration, s.rate, s.seed, machine(), commit())
	if s.duration < settled {
		fmt.Fprintf(out, "in less than %v memory that grows may be no more than the warm-up\n", settled)
	}
	report, err := soak.Run(ctx, soak.Options{World: opts, Duration: s.duration, Seed: s.seed, Only: s.only, Log: out})
	if err != nil {
		return fmt.Errorf("%w (files are in %s)", err, opts.Dir)
	}
	return errors.Join(s.write(report), report.Print(out), s.judge(report, opts.Dir))
}

func (s soaker) write(report *soak.Report) error {
	if s.out == "" {
		return nil
	}
	file, err := os.Create(s.out)
	if err != nil {
		return err
	}
	return errors.Join(report.WriteCSV(file), file.Close())
}

// judge keeps the files of a soak that has failed.
func (s soaker) judge(report *soak.Report, dir string) error {
	if findings := report.Findings(); len(findings) > 0 {
		return fmt.Errorf("the soak has found %d things; its files are in %s", len(findings), dir)
	}
	return os.RemoveAll(dir)
}
