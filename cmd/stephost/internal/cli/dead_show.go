package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

func (a *app) deadShowCommand(db *databaseFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "show QUEUE ID",
		Short: "Show one dead letter: why it is there, its errors, its body and its headers",
		Args:  arguments(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := idRanges(cmd, args[1:])
			if err != nil {
				return err
			}
			if ids[0].First != ids[0].Last {
				return usagef(cmd, "%q is not a message id", args[1])
			}
			return a.withBroker(cmd.Context(), *db, func(broker *pgmq.Broker) error {
				message, err := broker.DeadShow(cmd.Context(), args[0], ids[0].First)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(deadRowOf(message))
				}
				return a.printDeadMessage(message)
			})
		},
	}
}

func (a *app) printDeadMessage(m pgmq.DeadMessage) error {
	facts := newTable(a.stdout)
	facts.row("message", fmt.Sprintf("%d in %s since %s", m.ID, m.Queue, clock(m.EnqueuedAt)))
	if m.Leased {
		facts.row("held", "by a consumer of "+m.Queue+" until "+clock(m.VisibleAt))
	}
	if origin := m.Record.Origin; origin != nil {
		facts.row("from", fmt.Sprintf("%s, message %d, enqueued %s", origin.Queue, origin.ID, clock(origin.EnqueuedAt)))
		facts.row("idempotency key", origin.IdempotencyKey())
	} else {
		facts.row("from", "unknown: stephost did not put it here")
	}
	if dead := m.Record.Dead; dead != nil {
		facts.row("reason", dead.Reason)
		facts.row("error", dead.Error)
		facts.row("died", clock(dead.At))
		facts.row("namespace", dead.Namespace)
		facts.row("plugin", dead.Plugin)
		facts.row("step", dead.Step)
		facts.row("deliveries", dead.Deliveries)
	}
	facts.row("failures", m.Record.Failures)
	facts.row("crashes", m.Record.Crashes)
	facts.row("replays", m.Record.Replays)
	for _, entry := range m.Record.Errors {
		facts.row(fmt.Sprintf("attempt %d", entry.Attempt), fmt.Sprintf("%s %s: %s", clock(entry.At), entry.Type, entry.Message))
	}
	facts.row("body", string(orNull(m.Body)))
	facts.row("headers", string(orNull(m.Headers)))
	if err := facts.flush(); err != nil {
		return err
	}
	return a.printStacks(m.Record.Errors)
}

// printStacks prints the trace of each attempt that has one: of a crash that is
// the report of the plugin's end.
func (a *app) printStacks(errors []queues.ErrorEntry) error {
	for i, entry := range errors {
		if entry.Stack == "" {
			continue
		}
		where := fmt.Sprintf("where attempt %d of %s failed", entry.Attempt, clock(entry.At))
		if i == len(errors)-1 {
			where = "where the last one happened"
		}
		if err := a.printf("\n%s:\n%s\n", where, entry.Stack); err != nil {
			return err
		}
	}
	return nil
}

func clock(t time.Time) string { return t.Local().Format(time.DateTime) }
