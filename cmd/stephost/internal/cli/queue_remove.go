package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

func (a *app) queueDropCommand(db *databaseFlags) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "drop QUEUE...",
		Short: "Drop queues with their archives; those that hold messages only with --force",
		Args:  arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.withBroker(cmd.Context(), *db, func(broker *pgmq.Broker) error {
				if !force {
					if err := refuseLoss(cmd.Context(), broker, names, "nothing was dropped: use --force to drop them with the queue"); err != nil {
						return err
					}
				}
				return a.changeQueues(cmd.Context(), names, broker.DropQueue, "dropped", "does not exist")
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "drop queues with the messages that they hold")
	return cmd
}

func (a *app) queuePurgeCommand(db *databaseFlags) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "purge QUEUE",
		Short: "Delete all messages of a queue, also those that are being worked; needs --force; the archive stays",
		Args:  arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withBroker(cmd.Context(), *db, func(broker *pgmq.Broker) error {
				if !force {
					if err := refuseLoss(cmd.Context(), broker, args, "nothing was purged: use --force to delete them"); err != nil {
						return err
					}
				}
				purged, err := broker.Purge(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(map[string]any{"queue": args[0], "purged": purged})
				}
				return a.printf("purged %s from %s\n", countOf(purged, "message"), args[0])
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "delete the messages that there are")
	return cmd
}

// refuseLoss is an error that says how many messages would be lost, unless
// there are none. It guards against mistakes, not against messages that arrive
// a moment later.
func refuseLoss(ctx context.Context, broker *pgmq.Broker, names []string, refusal string) error {
	counts, err := broker.CountMessages(ctx, names, countCap)
	if err != nil {
		return err
	}
	var full []string
	for _, c := range counts {
		switch {
		case errors.Is(c.Err, queues.ErrQueueMissing):
		case c.Err != nil:
			return c.Err
		case c.Messages == 1:
			full = append(full, fmt.Sprintf("queue %q holds 1 message", c.Queue))
		case c.Messages > 1:
			full = append(full, fmt.Sprintf("queue %q holds %s messages", c.Queue, capped(c.Messages)))
		}
	}
	if len(full) == 0 {
		return nil
	}
	return fmt.Errorf("%s, %s", strings.Join(full, ", "), refusal)
}
