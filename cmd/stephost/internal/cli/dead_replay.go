package cli

import (
	"github.com/spf13/cobra"

	"github.com/stephost/stephost/queues/pgmq"
)

func (a *app) deadReplayCommand(db *databaseFlags) *cobra.Command {
	var (
		flags deadFlags
		sweep sweepFlags
		to    string
	)
	cmd := &cobra.Command{
		Use:   "replay QUEUE (ID... | FILTERS | --all)",
		Short: "Send dead letters back to the queues that they came from, with a fresh failure budget",
		Long: "Send dead letters back to the queues that they came from. They keep their history\n" +
			"and their idempotency key and have a fresh failure budget. A letter that a consumer\n" +
			"of the dead-letter queue holds is left alone. Ctrl-C is safe: what was replayed is\n" +
			"replayed, and the rest is where it was.\n\n" + filterHelp,
		Example: `  stephost dead replay orders_dead 17 20-29
  stephost dead replay orders_dead --since 2h --error "connection refused" --dry-run
  stephost dead replay orders_dead --all --rate 100/s`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := sweep.check(cmd, flags.chooses() || len(args) > 1)
			if err != nil {
				return err
			}
			return a.withDead(cmd, *db, &flags, args[1:], func(broker *pgmq.Broker, which pgmq.DeadFilter) error {
				progress := a.newProgress("replayed", args[0])
				options.Progress = progress.show
				report, err := broker.DeadReplay(cmd.Context(), args[0], which, pgmq.ReplayOptions{DeadSweep: options, To: to})
				progress.end()
				return a.printSweep(cmd.Context(), sweepVerbs{done: "replayed", would: "would replay"}, report, options.DryRun, len(which.IDs) > 0, err)
			})
		},
	}
	flags.register(cmd)
	sweep.register(cmd, "replay")
	cmd.Flags().StringVar(&to, "to", "", "send them to this queue, wherever they came from")
	return cmd
}
