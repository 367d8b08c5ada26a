package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/queues/pgmq"
)

func (a *app) deadExportCommand(db *databaseFlags) *cobra.Command {
	var (
		flags deadFlags
		file  string
	)
	cmd := &cobra.Command{
		Use:   "export QUEUE",
		Short: "Write dead letters as JSON lines, each with its record, body and headers",
		Long: "Write dead letters as JSON lines, each with its record, body and headers. They stay\n" +
			"where they are. A file appears when it is complete.\n\n" + filterHelp,
		Example: `  stephost dead export orders_dead -o orders_dead.jsonl
  stephost dead export orders_dead --since 24h | jq -c .body | stephost queue send orders_queue`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDead(cmd, *db, &flags, nil, func(broker *pgmq.Broker, which pgmq.DeadFilter) error {
				count := int64(0)
				err := a.writeTo(file, func(out io.Writer) error {
					encoder := json.NewEncoder(out)
					encoder.SetEscapeHTML(false)
					return broker.DeadEach(cmd.Context(), args[0], which, func(m pgmq.DeadMessage) error {
						count++
						return encoder.Encode(deadRowOf(m))
					})
				})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.stderr, "exported %s from %s\n", countOf(count, "message"), args[0])
				return err
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "", "write to this file instead of standard output")
	_ = cmd.MarkFlagFilename("output")
	return cmd
}

// writeTo lets write fill a file, which is there when it is complete, or
// standard output when path is empty or "-".
func (a *app) writeTo(path string, write func(io.Writer) error) (err error) {
	if path == "" || path == "-" {
		out := bufio.NewWriter(a.stdout)
		if err := write(out); err != nil {
			return err
		}
		return out.Flush()
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("create the file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	out := bufio.NewWriter(file)
	if err := write(out); err != nil {
		_ = file.Close()
		return err
	}
	if err := out.Flush(); err != nil {
		_ = file.Close()
		return fmt.Errorf("write the file: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	return os.Rename(file.Name(), path)
}
