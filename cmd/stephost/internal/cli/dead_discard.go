package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/queues/pgmq"
)

func (a *app) deadDiscardCommand(db *databaseFlags) *cobra.Command {
	var (
		flags    deadFlags
		sweep    sweepFlags
		yes, del bool
	)
	cmd := &cobra.Command{
		Use:   "discard QUEUE (ID... | FILTERS | --all)",
		Short: "Take dead letters out of their queue for good, into its archive or nowhere",
		Long: "Take dead letters out of their queue for good. They are kept in its archive (table\n" +
			"pgmq.a_<queue>), or with --delete nowhere. On a terminal it asks before. A letter\n" +
			"that a consumer of the queue holds is left alone, and so is one that comes while\n" +
			"it asks.\n\n" + filterHelp,
		Example: `  stephost dead discard orders_dead 17
  stephost dead discard orders_dead --until 30d --yes
  stephost dead discard orders_dead --step charge --reason unknown_step --delete`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := sweep.check(cmd, flags.chooses() || len(args) > 1)
			if err != nil {
				return err
			}
			return a.withDead(cmd, *db, &flags, args[1:], func(broker *pgmq.Broker, which pgmq.DeadFilter) error {
				if !yes && !options.DryRun {
					if options.Through, err = a.confirmDiscard(cmd.Context(), broker, args[0], which, del); err != nil {
						return err
					}
				}
				progress := a.newProgress("discarded", args[0])
				options.Progress = progress.show
				report, err := broker.DeadDiscard(cmd.Context(), args[0], which, pgmq.DiscardOptions{DeadSweep: options, Delete: del})
				progress.end()
				verbs := sweepVerbs{done: "discarded", would: "would discard"}
				if del {
					verbs = sweepVerbs{done: "deleted", would: "would delete"}
				}
				return a.printSweep(cmd.Context(), verbs, report, options.DryRun, len(which.IDs) > 0, err)
			})
		},
	}
	flags.register(cmd)
	sweep.register(cmd, "discard")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&del, "delete", false, "keep nothing in the archive")
	return cmd
}

// confirmDiscard asks on the terminal, unless there is nothing to ask about. It
// returns the largest id that the answer is about.
func (a *app) confirmDiscard(ctx context.Context, broker *pgmq.Broker, queue string, which pgmq.DeadFilter, del bool) (through int64, err error) {
	if !a.isTerminal(a.stdin) {
		return 0, &usageError{errors.New("nothing was discarded: use --yes, since there is no terminal to ask on")}
	}
	found, err := broker.DeadCount(ctx, queue, which)
	if err != nil {
		return 0, err
	}
	if found.Count == 0 {
		return pgmq.ThroughNone, nil
	}
	fate := "They stay in its archive."
	if del {
		fate = "They are gone then."
	}
	if _, err := fmt.Fprintf(a.stderr, "Discard %s of %s? %s [y/N] ", countOf(found.Count, "message"), queue, fate); err != nil {
		return 0, err
	}
	answer, err := a.readLine(ctx)
	if err != nil {
		return 0, err
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return 0, errors.New("nothing was discarded")
	}
	return found.Last, nil
}

// readLine reads what is typed. The terminal is left to itself when ctx ends:
// the process does, too.
func (a *app) readLine(ctx context.Context) (string, error) {
	typed := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.stdin).ReadString('\n')
		typed <- line
	}()
	select {
	case line := <-typed:
		return line, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
