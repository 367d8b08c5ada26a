package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/queues/pgmq"
)

func (a *app) queueCommand() *cobra.Command {
	var db databaseFlags
	group := asGroup(&cobra.Command{Use: "queue", Short: "Work on the queues of a database"})
	db.register(group)
	group.AddCommand(
		a.queueInstallCommand(&db),
		a.queueCreateCommand(&db),
		a.queueDropCommand(&db),
		a.queueListCommand(&db),
		a.queueSendCommand(&db),
		a.queuePeekCommand(&db),
		a.queuePurgeCommand(&db),
		a.queueTuneCommand(&db),
	)
	return group
}

// queueChange is what create and drop did to one queue.
type queueChange struct {
	Queue   string `json:"queue"`
	Changed bool   `json:"changed"`
}

func (a *app) queueCreateCommand(db *databaseFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "create QUEUE...",
		Short: "Create queues whose inserts notify; those that exist are left alone",
		Args:  arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.withBroker(cmd.Context(), *db, func(broker *pgmq.Broker) error {
				return a.changeQueues(cmd.Context(), names, broker.CreateQueue, "created", "exists already")
			})
		},
	}
}

func (a *app) changeQueues(ctx context.Context, names []string,
	change func(context.Context, string) (bool, error), did, not string,
) error {
	changes := make([]queueChange, 0, len(names))
	for _, name := range names {
		changed, err := change(ctx, name)
		if err != nil {
			return err
		}
		changes = append(changes, queueChange{Queue: name, Changed: changed})
		outcome := not
		if changed {
			outcome = did
		}
		if a.json {
			continue
		}
		if err := a.printf("queue %s %s\n", name, outcome); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(changes)
	}
	return nil
}

// queueRow is a queue as --json shows it.
type queueRow struct {
	Name              string    `json:"name"`
	Visible           int64     `json:"visible"`
	Invisible         int64     `json:"invisible"`
	Archived          int64     `json:"archived"`
	Capped            bool      `json:"capped"` // counts stop at 10,000
	OldestWaitSeconds float64   `json:"oldest_wait_seconds"`
	Notifies          bool      `json:"notifies"`
	CreatedAt         time.Time `json:"created_at"`
}

func (a *app) queueListCommand(db *databaseFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List queues with how many messages they hold",
		Args:  arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withBroker(cmd.Context(), *db, func(broker *pgmq.Broker) error {
				infos, err := broker.ListQueues(cmd.Context())
				if err != nil {
					return err
				}
				return a.printQueues(infos)
			})
		},
	}
}

func (a *app) printQueues(infos []pgmq.QueueInfo) error {
	if a.json {
		rows := make([]queueRow, len(infos))
		for i, info := range infos {
			rows[i] = queueRow{
				Name: info.Name, Visible: info.Visible, Invisible: info.Invisible, Archived: info.Archived,
				Capped: info.Capped, OldestWaitSeconds: info.OldestWait.Seconds(),
				Notifies: info.Notifies, CreatedAt: info.CreatedAt,
			}
		}
		return a.printJSON(rows)
	}
	t := newTable(a.stdout, "QUEUE", "VISIBLE", "INVISIBLE", "ARCHIVED", "OLDEST WAIT", "NOTIFIES", "CREATED")
	for _, info := range infos {
		notifies := "no"
		if info.Notifies {
			notifies = "yes"
		}
		t.row(info.Name, capped(info.Visible), capped(info.Invisible), capped(info.Archived),
			shortDuration(info.OldestWait), notifies, info.CreatedAt.Local().Format(time.DateTime))
	}
	return t.flush()
}

// countCap is where counting messages stops.
const countCap = 10_000

// capped shows that counting stopped.
func capped(n int64) string {
	if n >= countCap {
		return "10000+"
	}
	return strconv.FormatInt(n, 10)
}

// messageRow is a message as --json shows it.
type messageRow struct {
	ID         int64           `json:"msg_id"`
	Deliveries int32           `json:"deliveries"`
	EnqueuedAt time.Time       `json:"enqueued_at"`
	VisibleAt  time.Time       `json:"visible_at"`
	Body       json.RawMessage `json:"body"`
	Headers    json.RawMessage `json:"headers"`
}

func (a *app) queuePeekCommand(db *databaseFlags) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "peek QUEUE",
		Short: "Show the oldest messages, visible or not, without leasing them",
		Args:  arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return usagef(cmd, "--limit must be positive")
			}
			return a.withBroker(cmd.Context(), *db, func(broker *pgmq.Broker) error {
				messages, err := broker.Peek(cmd.Context(), args[0], limit)
				if err != nil {
					return err
				}
				return a.printMessages(messages)
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 10, "how many messages to show")
	return cmd
}

func (a *app) printMessages(messages []pgmq.Peeked) error {
	if a.json {
		rows := make([]messageRow, len(messages))
		for i, m := range messages {
			rows[i] = messageRow{
				ID: m.ID, Deliveries: m.ReadCount, EnqueuedAt: m.EnqueuedAt, VisibleAt: m.VisibleAt,
				Body: orNull(m.Body), Headers: orNull(m.Headers),
			}
		}
		return a.printJSON(rows)
	}
	t := newTable(a.stdout, "ID", "DELIVERIES", "ENQUEUED", "VISIBLE", "BODY")
	for _, m := range messages {
		visible := "now"
		if wait := time.Until(m.VisibleAt); wait > 0 {
			visible = "in " + shortDuration(wait)
		}
		t.row(m.ID, m.ReadCount, m.EnqueuedAt.Local().Format(time.DateTime), visible, shorten(string(orNull(m.Body)), 120))
	}
	return t.flush()
}

// orNull keeps JSON valid where the database had NULL.
func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}

func countOf(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
