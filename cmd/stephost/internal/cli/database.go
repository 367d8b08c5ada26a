package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/queues/pgmq"
)

// databaseFlags are the flags of commands that work on queues.
type databaseFlags struct{ dsn string }

func (f *databaseFlags) register(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&f.dsn, "dsn", "", "PostgreSQL database (default: DATABASE_URL, the configuration file, or a running stephost dev)")
}

var errNoDatabase = &usageError{errors.New("no database is known: set --dsn or DATABASE_URL, or start `stephost dev`")}

// database finds the database as the root help tells.
func (a *app) database(flags databaseFlags) (dsn string, err error) {
	if flags.dsn != "" {
		return flags.dsn, nil
	}
	if dsn := os.Getenv("DATABASE_URL"); dsn != "" {
		return dsn, nil
	}
	cfg, err := a.lookupConfig()
	if err != nil {
		return "", err
	}
	if cfg != nil && cfg.Queue.DSN != "" {
		return cfg.Queue.DSN.Reveal(), nil
	}
	if state, ok := readDevState(a.stateDir()); ok && state.DSN != "" {
		return state.DSN, nil
	}
	return "", errNoDatabase
}

// withBroker opens the database, calls use and closes it.
func (a *app) withBroker(ctx context.Context, flags databaseFlags, use func(*pgmq.Broker) error) error {
	dsn, err := a.database(flags)
	if err != nil {
		return err
	}
	options := pgmq.Options{DSN: dsn, MaxConnections: 3}
	broker, err := pgmq.Open(ctx, options)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer broker.Close()
	return use(broker)
}
