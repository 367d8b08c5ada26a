package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/internal/checkup"
	"github.com/stephost/stephost/queues/pgmq"
)

const (
	// checkTimeout bounds a check; a statement of it has less, so that its end is
	// the server's and the connection stays.
	checkTimeout     = 20 * time.Second
	statementTimeout = 5 * time.Second
	// lockTimeout is how long a check waits for a table that somebody has locked.
	lockTimeout  = 200 * time.Millisecond
	closeTimeout = 5 * time.Second
)

func (e *exam) checks() []checkup.Check {
	return []checkup.Check{
		{Name: "connection", Run: e.connection},
		{Name: "server", Run: e.server},
		{Name: "read-write", Run: e.readWrite},
		{Name: "pooler", Run: e.pooler},
		{Name: "listen", Run: e.listen},
		{Name: "search-path", Run: e.searchPath},
		{Name: "schema", Run: e.schema},
		{Name: "queues", Run: e.queues},
		{Name: "tables", Run: e.queueTables},
		{Name: "grants", Run: e.grants},
		{Name: "notifications", Run: e.notifications},
		{Name: "locks", Run: e.locks},
		{Name: "xmin-horizon", Run: e.horizon},
		{Name: "autovacuum", Run: e.autovacuum},
		{Name: "bloat", Run: e.bloat},
		{Name: "connections", Run: e.connections},
		{Name: "durability", Run: e.durability},
		{Name: "clock", Run: e.clock},
		{Name: "unused-queues", Run: e.unusedQueues},
		{Name: "waiting", Run: e.waiting},
		{Name: "steps", Run: e.steps},
		{Name: "leases", Run: e.leases},
		{Name: "deliveries", Run: e.deliveries},
		{Name: "dead-letters", Run: e.deadLetters},
	}
}

// Examine makes all checks. Without a connection only the first one runs.
func Examine(ctx context.Context, target Target) []checkup.Finding {
	return examine(ctx, target, func(string) bool { return true })
}

// examine makes the checks whose names are wanted.
func examine(ctx context.Context, target Target, wanted func(check string) bool) []checkup.Finding {
	target.Limits = target.Limits.withDefaults()
	if target.ListenDSN == "" {
		target.ListenDSN = target.DSN
	}
	if target.MaxConnections == 0 {
		target.MaxConnections = 8
	}
	e := &exam{Target: target}
	if err := e.connect(ctx); err != nil {
		return unreachable(target, err)
	}
	defer e.close()
	checks := slices.DeleteFunc(e.checks(), func(c checkup.Check) bool { return !wanted(c.Name) })
	return checkup.Run(ctx, checkTimeout, checks)
}

// exam is one examination. Its connection prepares no statements, which works
// through any pooler.
type exam struct {
	Target
	conn *pgx.Conn
	mode pgx.QueryExecMode // the DSN's own

	role, database string
}

func (e *exam) connect(ctx context.Context) error {
	conn, err := e.open(ctx, e.DSN, func(config *pgx.ConnConfig) {
		e.mode = config.DefaultQueryExecMode
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
	})
	if err != nil {
		return err
	}
	if err := conn.QueryRow(ctx, `SELECT current_user::text, current_database()::text`).Scan(&e.role, &e.database); err != nil {
		closeConn(conn)
		return err
	}
	e.conn = conn
	return nil
}

func (e *exam) open(ctx context.Context, dsn string, change func(*pgx.ConnConfig)) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return pgmq.Connect(ctx, dsn, func(config *pgx.ConnConfig) {
		config.RuntimeParams["application_name"] = "stephost doctor"
		change(config)
	})
}

// exec has a connection prepare no statements.
func exec(config *pgx.ConnConfig) { config.DefaultQueryExecMode = pgx.QueryExecModeExec }

func (e *exam) close() { closeConn(e.conn) }

func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}

// read runs what only looks.
func (e *exam) read(ctx context.Context, look func(tx pgx.Tx) error) error {
	if e.conn.IsClosed() {
		if err := e.connect(ctx); err != nil {
			return fmt.Errorf("the connection was lost: %w", err)
		}
	}
	return pgx.BeginTxFunc(ctx, e.conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := e.hurry(ctx, tx); err != nil {
			return err
		}
		return look(tx)
	})
}

func (e *exam) hurry(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = %d",
		statementTimeout.Milliseconds(), lockTimeout.Milliseconds()), pgx.QueryExecModeSimpleProtocol)
	return err
}

// rows reads a list in a transaction of its own.
func rows[T any](ctx context.Context, e *exam, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	var list []T
	err := e.read(ctx, func(tx pgx.Tx) error {
		found, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(found, scan)
		return err
	})
	return list, err
}

// row reads one row in a transaction of its own.
func row[T any](ctx context.Context, e *exam, sql string, args ...any) (T, error) {
	list, err := rows(ctx, e, pgx.RowToStructByPos[T], sql, args...)
	if err == nil && len(list) == 0 {
		err = errors.New("the server gave no answer")
	}
	if err != nil {
		var none T
		return none, err
	}
	return list[0], nil
}

// each calls look for every queue in a read-only transaction of its own, so that
// one that cannot be read costs only itself.
func (e *exam) each(ctx context.Context, names []string, look func(tx pgx.Tx, q queueTable) ([]checkup.Finding, error)) ([]checkup.Finding, error) {
	tables, err := e.tables(ctx, names)
	if err != nil {
		return nil, err
	}
	var (
		found  []checkup.Finding
		ctxErr error
	)
	for _, q := range tables {
		err := e.read(ctx, func(tx pgx.Tx) error {
			more, err := look(tx, q)
			found = append(found, more...)
			return err
		})
		if ctxErr = ctx.Err(); ctxErr != nil {
			break
		}
		if err != nil {
			found = append(found, checkup.Finding{Severity: checkup.Skipped, Seen: fmt.Sprintf("queue %q: %v", q.Queue, err)})
		}
	}
	return found, ctxErr
}

// sql and the like make fixes.
func sql(format string, args ...any) checkup.Fix {
	return checkup.Fix{Kind: checkup.SQL, Text: fmt.Sprintf(format, args...) + ";"}
}

func command(format string, args ...any) checkup.Fix {
	return checkup.Fix{Kind: checkup.Command, Text: fmt.Sprintf(format, args...)}
}

func edit(format string, args ...any) checkup.Fix {
	return checkup.Fix{Kind: checkup.Edit, Text: fmt.Sprintf(format, args...)}
}

func advice(format string, args ...any) checkup.Fix {
	return checkup.Fix{Kind: checkup.Advice, Text: fmt.Sprintf(format, args...)}
}
