package cli

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

func (a *app) deadCommand() *cobra.Command {
	var db databaseFlags
	group := asGroup(&cobra.Command{Use: "dead", Short: "Look into dead-letter queues, send messages back, discard, export and import them"})
	db.register(group)
	group.AddCommand(
		a.deadListCommand(&db),
		a.deadShowCommand(&db),
		a.deadReplayCommand(&db),
		a.deadDiscardCommand(&db),
		a.deadExportCommand(&db),
		a.deadImportCommand(&db),
	)
	return group
}

// deadRow is a dead letter as --json and an export show it.
type deadRow struct {
	ID         int64     `json:"msg_id"`
	Queue      string    `json:"queue"`
	EnqueuedAt time.Time `json:"enqueued_at"`
	VisibleAt  time.Time `json:"visible_at"`
	Leased     bool      `json:"leased"`
	Reads      int32     `json:"reads"`
	// IdempotencyKey is empty when the message does not say where it came from.
	IdempotencyKey string          `json:"idempotency_key,omitempty"`
	Record         queues.Record   `json:"record"`
	BodyBytes      int64           `json:"body_bytes"` // as stored
	Body           json.RawMessage `json:"body"`
	Headers        json.RawMessage `json:"headers"`
}

func deadRowOf(m pgmq.DeadMessage) deadRow {
	row := deadRow{
		ID: m.ID, Queue: m.Queue, EnqueuedAt: m.EnqueuedAt, VisibleAt: m.VisibleAt, Leased: m.Leased, Reads: m.ReadCount,
		Record: m.Record, BodyBytes: m.BodyBytes, Body: orNull(m.Body), Headers: orNull(m.Headers),
	}
	if m.Record.Origin != nil {
		row.IdempotencyKey = m.Record.Origin.IdempotencyKey()
	}
	return row
}

func (a *app) deadListCommand(db *databaseFlags) *cobra.Command {
	var (
		flags deadFlags
		limit int
		after int64
	)
	cmd := &cobra.Command{
		Use:   "list [QUEUE...]",
		Short: "List dead letters, oldest first, of the queues given or of all namespaces of the configuration file",
		Long: "List dead letters, oldest first, of the queues given or of all namespaces of the\n" +
			"configuration file. With --json, bodies above 64 KiB are left out.\n\n" + filterHelp,
		Example: `  stephost dead list orders_dead --since 24h --reason attempts_spent
  stephost dead list orders_dead --error "connection refused"
  stephost dead list orders_dead --after 1050 --limit 100`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if limit < 1 {
				return usagef(cmd, "--limit must be positive")
			}
			if after > 0 && len(names) != 1 {
				return usagef(cmd, "--after is an id in one queue: name that queue")
			}
			named := len(names) > 0
			if !named {
				var err error
				if names, err = a.deadQueues(); err != nil {
					return err
				}
			}
			return a.withDead(cmd, *db, &flags, nil, func(broker *pgmq.Broker, which pgmq.DeadFilter) error {
				var pages []deadPage
				for _, name := range names {
					list, err := broker.DeadList(cmd.Context(), name, which, after, limit+1)
					if !named && errors.Is(err, queues.ErrQueueMissing) {
						continue // it is created with its first letter
					}
					if err != nil {
						return err
					}
					page := deadPage{queue: name, list: list, more: len(list) > limit}
					page.list = list[:min(len(list), limit)]
					pages = append(pages, page)
				}
				return a.printDead(pages, typedFlags(cmd.Flags(), "after"))
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, "how many messages of each queue to list")
	cmd.Flags().Int64Var(&after, "after", 0, "go on after the message with this id")
	return cmd
}

// deadPage is what is listed of one queue; more says that there is more.
type deadPage struct {
	queue string
	list  []pgmq.DeadMessage
	more  bool
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

// printDead shows pages; flags are those that the next page is listed with too.
func (a *app) printDead(pages []deadPage, flags string) error {
	if a.json {
		rows := []deadRow{}
		for _, page := range pages {
			for _, m := range page.list {
				rows = append(rows, deadRowOf(m))
			}
		}
		return a.printJSON(rows)
	}
	t := newTable(a.stdout, "QUEUE", "ID", "FROM", "STEP", "REASON", "FAILURES", "DIED", "ERROR")
	var more []string
	for _, page := range pages {
		for _, m := range page.list {
			t.row(deadCells(m)...)
		}
		if page.more {
			last := page.list[len(page.list)-1].ID
			more = append(more, "there are more: stephost dead list "+page.queue+flags+" --after "+strconv.FormatInt(last, 10))
		}
	}
	if err := t.flush(); err != nil || len(more) == 0 {
		return err
	}
	return a.printf("%s\n", strings.Join(more, "\n"))
}

func deadCells(m pgmq.DeadMessage) []any {
	from, step, reason, text, died := "", "", "not stephost's", "", m.EnqueuedAt
	if origin := m.Record.Origin; origin != nil {
		from, reason = origin.Queue+" "+strconv.FormatInt(origin.ID, 10), ""
	}
	if dead := m.Record.Dead; dead != nil {
		step, reason, text, died = dead.Step, string(dead.Reason), dead.Error, dead.At
	}
	if m.Leased {
		reason = strings.TrimSpace(reason + " (held)")
	}
	return []any{m.Queue, m.ID, from, step, reason, m.Record.Failures, died.Local().Format(time.DateTime), shorten(text, 80)}
}
