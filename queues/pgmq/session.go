package pgmq

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Connect opens one connection for work that a Broker does not do, such as
// installing the queue schema. It takes every DSN that Open takes. change, when
// given, has the last word about the connection. The caller closes it.
func Connect(ctx context.Context, dsn string, change ...func(*pgx.ConnConfig)) (*pgx.Conn, error) {
	opts, err := Options{DSN: dsn}.withDefaults()
	if err != nil {
		return nil, err
	}
	config, err := parseDSN(opts.DSN, opts, role{name: "setup"})
	if err != nil {
		return nil, err
	}
	if !choosesExecMode(dsn) {
		// Nothing is run often enough to be prepared, and a pooler would lose it.
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	for _, c := range change {
		c(config.ConnConfig)
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return nil, connectError(config.ConnConfig, err)
	}
	return conn, nil
}
