package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

// replayBatch is how many messages replay --all moves in one transaction.
const replayBatch = 500

func (a *app) deadCommand() *cobra.Command {
	var db databaseFlags
	group := asGroup(&cobra.Command{Use: "dead", Short: "Look into dead-letter queues and send messages back"})
	db.register(group)
	group.AddCommand(a.deadListCommand(&db), a.deadShowCommand(&db), a.deadReplayCommand(&db))
	return group
}

// deadRow is a dead letter as --json shows it.
type deadRow struct {
	ID         int64           `json:"msg_id"`
	Queue      string          `json:"queue"`
	EnqueuedAt time.Time       `json:"enqueued_at"`
	Record     queues.Record   `json:"record"`
	Body       json.RawMessage `json:"body"`
	Headers    json.RawMessage `json:"headers"`
}

func deadRowOf(m pgmq.DeadMessage) deadRow {
	return deadRow{ID: m.ID, Queue: m.Queue, EnqueuedAt: m.EnqueuedAt, Record: m.Record, Body: orNull(m.Body), Headers: orNull(m.Headers)}
}

func (a *app) deadListCommand(db *databaseFlags) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "list [QUEUE...]",
		Short: "List the oldest dead letters of the queues given, or of all namespaces of the configuration file",
		RunE: func(cmd *cobra.Command, names []string) error {
			if limit < 1 {
				return usagef(cmd, "--limit must be positive")
			}
			if len(names) == 0 {
				var err error
				if names, err = a.deadQueues(); err != nil {
					return err
				}
			}
			return a.withBroker(cmd.Context(), *db, func(broker *pgmq.Broker) error {
				var all []pgmq.DeadMessage
				for _, name := range names {
					list, err := broker.DeadList(cmd.Context(), name, limit)
					if err != nil {
						return err
					}
					all = append(all, list...)
				}
				return a.printDead(all)
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "how many messages of each queue to list")
	return cmd
}

// deadQueues are the dead-letter queues of the configuration file.
func (a *app) deadQueues() ([]string, error) {
	cfg, err := a.loadConfig(config.WithFileChecks(false))
	if err != nil {
		return nil, err
	}
	var names []string
	seen := map[string]bool{}
	for _, ns := range cfg.Namespaces {
		if !seen[ns.DeadLetter] {
			seen[ns.DeadLetter] = true
			names = append(names, ns.DeadLetter)
		}
	}
	return names, nil
}

func (a *app) printDead(list []pgmq.DeadMessage) error {
	if a.json {
		rows := make([]deadRow, len(list))
		for i, m := range list {
			rows[i] = deadRowOf(m)
		}
		return a.printJSON(rows)
	}
	t := newTable(a.stdout, "QUEUE", "ID", "FROM", "REASON", "FAILURES", "DIED", "ERROR")
	for _, m := range list {
		from, reason, died, text := "", "", "", ""
		if m.Record.Origin != nil {
			from = m.Record.Origin.Queue + " " + strconv.FormatInt(m.Record.Origin.ID, 10)
		}
		if dead := m.Record.Dead; dead != nil {
			reason, text, died = string(dead.Reason), dead.Error, dead.At.Local().Format(time.DateTime)
		}
		t.row(m.Queue, m.ID, from, reason, m.Record.Failures, died, shorten(text, 80))
	}
	return t.flush()
}

func (a *app) deadShowCommand(db *databaseFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "show QUEUE ID",
		Short: "Show one dead letter with its errors and its body",
		Args:  arguments(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := messageIDs(cmd, args[1:])
			if err != nil {
				return err
			}
			return a.withBroker(cmd.Context(), *db, func(broker *pgmq.Broker) error {
				message, err := broker.DeadShow(cmd.Context(), args[0], ids[0])
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
	facts.row("message", fmt.Sprintf("%d in %s", m.ID, m.Queue))
	if origin := m.Record.Origin; origin != nil {
		facts.row("from", fmt.Sprintf("%s, message %d, enqueued %s", origin.Queue, origin.ID, origin.EnqueuedAt.Local().Format(time.DateTime)))
	}
	if dead := m.Record.Dead; dead != nil {
		facts.row("reason", dead.Reason)
		facts.row("error", dead.Error)
		facts.row("died", dead.At.Local().Format(time.DateTime))
		facts.row("namespace", dead.Namespace)
		facts.row("plugin", dead.Plugin)
		facts.row("deliveries", dead.Deliveries)
	}
	facts.row("failures", m.Record.Failures)
	facts.row("crashes", m.Record.Crashes)
	facts.row("replays", m.Record.Replays)
	for _, entry := range m.Record.Errors {
		facts.row(fmt.Sprintf("attempt %d", entry.Attempt), fmt.Sprintf("%s %s: %s", entry.At.Local().Format(time.DateTime), entry.Type, entry.Message))
	}
	facts.row("body", string(orNull(m.Body)))
	if err := facts.flush(); err != nil {
		return err
	}
	if n := len(m.Record.Errors); n > 0 && m.Record.Errors[n-1].Stack != "" {
		return a.printf("\nwhere the last one happened:\n%s\n", m.Record.Errors[n-1].Stack)
	}
	return nil
}

func (a *app) deadReplayCommand(db *databaseFlags) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "replay QUEUE (ID... | --all)",
		Short: "Send dead letters back to the queues that they came from, with a fresh failure budget",
		Args:  arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 1) {
				return usagef(cmd, "name message ids or --all")
			}
			ids, err := messageIDs(cmd, args[1:])
			if err != nil {
				return err
			}
			return a.withBroker(cmd.Context(), *db, func(broker *pgmq.Broker) error {
				replay := func() ([]int64, error) { return broker.DeadReplay(cmd.Context(), args[0], ids) }
				if all {
					replay = func() ([]int64, error) { return replayAll(cmd.Context(), broker, args[0]) }
				}
				replayed, err := replay()
				if err != nil {
					return err
				}
				return a.printReplayed(args[0], ids, replayed)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all that are in the queue now")
	return cmd
}

// replayAll moves the messages that are there when it starts. Ids only grow,
// so one that dies again meanwhile is beyond the last of them.
func replayAll(ctx context.Context, broker *pgmq.Broker, queue string) ([]int64, error) {
	present, err := broker.ListQueues(ctx)
	if err != nil {
		return nil, err
	}
	budget := int64(0)
	for _, info := range present {
		if info.Name == queue {
			budget = info.Visible + info.Invisible
		}
	}
	var replayed []int64
	for int64(len(replayed)) < budget {
		list, err := broker.DeadList(ctx, queue, int(min(replayBatch, budget-int64(len(replayed)))))
		if err != nil || len(list) == 0 {
			return replayed, err
		}
		ids := make([]int64, len(list))
		for i, m := range list {
			ids[i] = m.ID
		}
		moved, err := broker.DeadReplay(ctx, queue, ids)
		if err != nil {
			return replayed, err
		}
		replayed = append(replayed, moved...)
	}
	return replayed, nil
}

func (a *app) printReplayed(queue string, asked, replayed []int64) error {
	if a.json {
		if replayed == nil {
			replayed = []int64{}
		}
		return a.printJSON(map[string]any{"queue": queue, "replayed": len(replayed), "msg_ids": replayed})
	}
	if err := a.printf("replayed %s from %s\n", countOf(int64(len(replayed)), "message"), queue); err != nil {
		return err
	}
	moved := map[int64]bool{}
	for _, id := range replayed {
		moved[id] = true
	}
	var gone []string
	for _, id := range asked {
		if !moved[id] {
			gone = append(gone, strconv.FormatInt(id, 10))
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return fmt.Errorf("not in %s: %s", queue, strings.Join(gone, ", "))
}

func messageIDs(cmd *cobra.Command, args []string) ([]int64, error) {
	ids := make([]int64, len(args))
	for i, arg := range args {
		id, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || id <= 0 {
			return nil, usagef(cmd, "%q is not a message id", arg)
		}
		ids[i] = id
	}
	return ids, nil
}
