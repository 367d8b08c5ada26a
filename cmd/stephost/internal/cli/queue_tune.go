package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/queues/pgmq"
)

// tuneRow is a setting as --json shows it.
type tuneRow struct {
	Queue   string `json:"queue"`
	Table   string `json:"table"`
	Name    string `json:"name"`
	Value   string `json:"value"`
	Outcome string `json:"outcome"` // missing, set, reset, in_force, kept
}

// The outcomes.
const (
	tuneMissing = "missing"  // only with --dry-run: would be set
	tuneSet     = "set"      // now
	tuneReset   = "reset"    // now, or would be with --dry-run
	tuneInForce = "in_force" // as it should be
	tuneKept    = "kept"     // somebody has chosen another value
)

func (a *app) queueTuneCommand(db *databaseFlags) *cobra.Command {
	var dry, reset bool
	cmd := &cobra.Command{
		Use:   "tune QUEUE...",
		Short: "Let the tables of queues be vacuumed as queues need it; what somebody has set is kept",
		Long: `Give the tables of queues, and of their archives, autovacuum settings that suit them.
Queues that "stephost queue create" made have them; others are changed by this command only.
A setting that somebody has chosen differently is kept. Readers and writers need not wait.`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.withBroker(cmd.Context(), *db, func(broker *pgmq.Broker) error {
				tune := tuner{broker: broker, dry: dry, reset: reset}
				rows := []tuneRow{}
				for _, name := range names {
					more, err := tune.queue(cmd.Context(), name)
					if err != nil {
						return err
					}
					rows = append(rows, more...)
				}
				return a.printTuning(rows)
			})
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what would be changed, and change nothing")
	cmd.Flags().BoolVar(&reset, "reset", false, "take back what this command has set")
	return cmd
}

type tuner struct {
	broker     *pgmq.Broker
	dry, reset bool
}

// queue changes one queue and tells what has become of each setting.
func (t tuner) queue(ctx context.Context, name string) (rows []tuneRow, err error) {
	before, err := t.broker.QueueTuning(ctx, name)
	if err != nil {
		return nil, err
	}
	changed, outcome, rest := before.Missing, tuneMissing, before.Ours
	if t.reset {
		changed, outcome, rest = before.Ours, tuneReset, nil
	}
	switch {
	case t.dry:
	case t.reset:
		changed, err = t.broker.ResetQueueTuning(ctx, name)
	default:
		outcome = tuneSet
		changed, err = t.broker.TuneQueue(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	for _, group := range []struct {
		settings []pgmq.StorageSetting
		outcome  string
	}{{changed, outcome}, {rest, tuneInForce}, {before.Others, tuneKept}} {
		for _, s := range group.settings {
			rows = append(rows, tuneRow{Queue: name, Table: s.Table, Name: s.Name, Value: s.Value, Outcome: group.outcome})
		}
	}
	return rows, nil
}

func (a *app) printTuning(rows []tuneRow) error {
	if a.json {
		return a.printJSON(rows)
	}
	t := newTable(a.stdout, "TABLE", "SETTING", "VALUE", "OUTCOME")
	for _, r := range rows {
		t.row(r.Table, r.Name, r.Value, r.Outcome)
	}
	return t.flush()
}
