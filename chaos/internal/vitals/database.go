package vitals

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Database measures the tables of the queues, and who is connected. It connects
// anew each time: a connection that is terminated by a fault would be one more
// thing to mend, and one that stays would be measured.
type Database struct {
	// DSN is a direct way to the database, around whatever the hosts go through.
	DSN string
}

// Read implements Source.
func (d Database) Read(ctx context.Context, note Note) error {
	conn, err := pgx.Connect(ctx, d.DSN)
	if err != nil {
		return fmt.Errorf("measure the database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := readBackends(ctx, conn, note); err != nil {
		return fmt.Errorf("measure the database: %w", err)
	}
	if err := readTables(ctx, conn, note); err != nil {
		return fmt.Errorf("measure the database: %w", err)
	}
	return nil
}

func readBackends(ctx context.Context, conn *pgx.Conn, note Note) error {
	var backends, horizon float64
	err := conn.QueryRow(ctx, `
		SELECT count(*), coalesce(max(age(backend_xmin)), 0)
		FROM pg_stat_activity
		WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`).Scan(&backends, &horizon)
	if err != nil {
		return err
	}
	database := Subject{Name: "database"}
	note(database, Backends, backends)
	note(database, Horizon, horizon)
	return nil
}

// readTables measures all that the host may write to: the tables of queues and
// archives, and those that it keeps for itself.
func readTables(ctx context.Context, conn *pgx.Conn, note Note) error {
	rows, err := conn.Query(ctx, `
		SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid)
		FROM pg_stat_user_tables WHERE schemaname IN ('pgmq', 'stephost') ORDER BY relname`)
	if err != nil {
		return err
	}
	var name string
	var live, dead, size float64
	_, err = pgx.ForEachRow(rows, []any{&name, &live, &dead, &size}, func() error {
		table := Subject{Name: "table " + name}
		note(table, Messages, live)
		note(table, DeadTuples, dead)
		note(table, RelationSize, size)
		return nil
	})
	return err
}
