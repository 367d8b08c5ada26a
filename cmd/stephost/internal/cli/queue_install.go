package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/queues/pgmq"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

func (a *app) queueInstallCommand(db *databaseFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "install",
		Short: "Install or upgrade the queue schema in a database that has no pgmq",
		Args:  arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dsn, err := a.database(*db)
			if err != nil {
				return err
			}
			result, err := installSchema(cmd.Context(), dsn)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"changed": result.Changed(), "from": result.From, "to": result.To})
			}
			return a.printf("%s\n", installText(result))
		},
	}
}

func installText(result schema.Result) string {
	switch {
	case !result.Changed():
		return fmt.Sprintf("the queue schema is installed already, version %d", result.To)
	case result.From == 0:
		return fmt.Sprintf("installed the queue schema, version %d", result.To)
	default:
		return fmt.Sprintf("upgraded the queue schema from version %d to %d", result.From, result.To)
	}
}

func installSchema(ctx context.Context, dsn string) (schema.Result, error) {
	conn, err := pgmq.Connect(ctx, dsn)
	if err != nil {
		return schema.Result{}, err
	}
	// A connection that does not say goodbye is the server's to clean up.
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return schema.Install(ctx, conn)
}
