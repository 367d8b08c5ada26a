package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

// importBatch is how many letters one statement takes.
const importBatch = 500

func (a *app) deadImportCommand(db *databaseFlags) *cobra.Command {
	var flags sendFlags
	cmd := &cobra.Command{
		Use:   "import QUEUE [-]",
		Short: "Put exported dead letters into a dead-letter queue, as they were",
		Long: "Put exported dead letters into a dead-letter queue, as they were: with their\n" +
			"history, their origin and so their idempotency key. From there they can be shown\n" +
			"and replayed. An import that is done twice has every letter twice.",
		Example: `  stephost dead import orders_dead -f orders_dead.jsonl
  stephost dead export orders_dead --dsn "$OLD" | stephost dead import orders_dead --dsn "$NEW"
  stephost dead replay orders_dead --all`,
		Args: arguments(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 && args[1] != "-" {
				return usagef(cmd, "name a file with --file")
			}
			input, closeInput, err := a.sendInput(cmd, flags, args[1:])
			if err != nil {
				return err
			}
			defer closeInput()
			return a.withBroker(cmd.Context(), *db, func(broker *pgmq.Broker) error {
				s := sender{broker: broker, queue: args[0], limit: importBatch, read: letter}
				if err := s.sendAll(cmd.Context(), input); err != nil {
					return err
				}
				return a.printSent(&s, "imported")
			})
		},
	}
	cmd.Flags().StringVarP(&flags.file, "file", "f", "", "read letters from this file; - is standard input")
	_ = cmd.MarkFlagFilename("file")
	return cmd
}

// letter reads a line of an export.
func letter(line []byte) (queues.Outgoing, error) {
	var row deadRow
	if err := json.Unmarshal(line, &row); err != nil {
		return queues.Outgoing{}, fmt.Errorf("no exported letter: %w", err)
	}
	switch {
	case row.ID <= 0 || row.Queue == "" || row.Body == nil:
		return queues.Outgoing{}, errors.New("no exported letter: it has no msg_id, queue or body")
	case row.Record.Version > queues.RecordVersion:
		return queues.Outgoing{}, fmt.Errorf("of a newer stephost: its record has version %d, and this one knows %d", row.Record.Version, queues.RecordVersion)
	}
	null := []byte("null")
	message := queues.Outgoing{Body: row.Body}
	// A body that is SQL NULL takes no room, other than JSON's null.
	if row.BodyBytes == 0 && bytes.Equal(row.Body, null) {
		message.Body = nil
	}
	if len(row.Headers) > 0 && !bytes.Equal(row.Headers, null) {
		message.Headers = row.Headers
		return message, nil
	}
	if row.Record.Version == 0 {
		return message, nil // stephost had nothing to do with it
	}
	// It comes from a table without headers, which keeps the record elsewhere.
	headers, err := json.Marshal(map[string]queues.Record{"stephost": row.Record})
	message.Headers = headers
	return message, err
}
