package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stephost/stephost/internal/checkup"
)

// poolerRounds is how often two connections take turns. A pooler that gives a
// server to whoever has a transaction needs one round to show it, mostly.
const poolerRounds = 8

// pooling is what stands between a connection and the server.
type pooling int

const (
	direct pooling = iota
	// sessionPooling gives a client a server for as long as it is connected.
	sessionPooling
	// transactionPooling gives it one for a transaction.
	transactionPooling
)

// poolingOf tells the kind by the server processes that do the work. A pooler
// cannot pass on the process id that the server told it at the start, since a
// client may use it to cancel.
func (e *exam) poolingOf(ctx context.Context, dsn string) (pooling, error) {
	var pids [2]uint32
	var conns [2]*pgx.Conn
	kind := direct
	for i := range conns {
		conn, err := e.open(ctx, dsn, exec)
		if err != nil {
			return direct, err
		}
		defer closeConn(conn)
		conns[i] = conn
	}
	for round := range poolerRounds {
		for i, conn := range conns {
			var pid uint32
			if err := conn.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
				return direct, err
			}
			if pid != conn.PgConn().PID() {
				kind = max(kind, sessionPooling)
			}
			if round > 0 && pid != pids[i] {
				return transactionPooling, nil
			}
			pids[i] = pid
		}
		if pids[0] == pids[1] {
			return transactionPooling, nil
		}
	}
	return kind, nil
}

// pooler looks for one in front of dsn, and for prepared statements that it
// loses.
func (e *exam) pooler(ctx context.Context) ([]checkup.Finding, error) {
	kind, err := e.poolingOf(ctx, e.DSN)
	if err != nil {
		return nil, err
	}
	switch {
	case kind == direct:
		return checkup.Fine("none: dsn leads to the server itself"), nil
	case kind == sessionPooling:
		return checkup.Fine("one in session mode"), nil
	case e.mode == pgx.QueryExecModeExec || e.mode == pgx.QueryExecModeSimpleProtocol:
		return checkup.Fine("one in transaction mode; a host prepares no statements then"), nil
	}
	broken, err := e.losesStatements(ctx)
	if err != nil {
		return nil, err
	}
	f := checkup.Finding{
		Severity: checkup.Warning,
		Seen:     "dsn leads through a pooler in transaction mode, and its default_query_exec_mode asks for prepared statements",
		Why:      "they may be lost between two transactions",
		Fixes:    []checkup.Fix{edit("queue \"pgmq\" {\n  dsn = \"%s\"\n}", e.withoutExecMode())},
	}
	if broken != nil {
		f.Severity = checkup.Error
		f.Seen = fmt.Sprintf("dsn leads through a pooler in transaction mode that loses the prepared statements for which its default_query_exec_mode asks: %v", broken)
		f.Why = "claims and settlements fail"
	}
	return []checkup.Finding{f}, nil
}

// losesStatements runs the same statement on two connections, as hosts do. The
// first error is what the server says about it.
func (e *exam) losesStatements(ctx context.Context) (broken, err error) {
	var conns [2]*pgx.Conn
	for i := range conns {
		conn, err := e.open(ctx, e.DSN, func(*pgx.ConnConfig) {})
		if err != nil {
			return nil, err
		}
		defer closeConn(conn)
		conns[i] = conn
	}
	statement := `SELECT $1::text || '` + strings.ToLower(rand.Text()) + `'`
	for range poolerRounds {
		for _, conn := range conns {
			var text string
			err := conn.QueryRow(ctx, statement, "x").Scan(&text)
			var pg *pgconn.PgError
			if errors.As(err, &pg) && (pg.Code == "26000" || pg.Code == "42P05" || pg.Code == "08P01") {
				return pg, nil
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// withoutExecMode is the DSN as it should be, but for its password. The host
// chooses the mode by itself.
func (e *exam) withoutExecMode() string {
	config := e.conn.Config()
	return fmt.Sprintf("postgres://%s:PASSWORD@%s/%s", config.User, address(config.Host, config.Port), config.Database)
}

func address(host string, port uint16) string {
	if strings.HasPrefix(host, "/") {
		return fmt.Sprintf(":%d", port)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, port)
}

// listen proves that a notification which a producer sends arrives, while the
// listening connection does nothing else.
func (e *exam) listen(ctx context.Context) ([]checkup.Finding, error) {
	if !e.Listens {
		return checkup.Fine("the configured mode does not listen"), nil
	}
	listener, err := e.open(ctx, e.ListenDSN, exec)
	if err != nil {
		return []checkup.Finding{{
			Severity: checkup.Error, Seen: fmt.Sprintf("listen_dsn: %v", err),
			Why:   "without notifications, messages wait for the fallback poller",
			Fixes: []checkup.Fix{connectFix(e.ListenDSN, err)},
		}}, nil
	}
	defer closeConn(listener)
	ok, err := e.hears(ctx, listener)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return e.deaf(ctx, listener)
	}
	return checkup.Fine("a notification arrived"), nil
}

// deaf says why a notification did not arrive.
func (e *exam) deaf(ctx context.Context, listener *pgx.Conn) ([]checkup.Finding, error) {
	const here = `SELECT current_database()::text, pg_postmaster_start_time()::text, coalesce(host(inet_server_addr()), ''), current_setting('port')::int`
	type place struct {
		Database, Started, Addr string
		Port                    int
	}
	work, err := row[place](ctx, e, here)
	if err != nil {
		return nil, err
	}
	var other place
	if err := listener.QueryRow(ctx, here).Scan(&other.Database, &other.Started, &other.Addr, &other.Port); err != nil {
		return nil, err
	}
	config := e.conn.Config()
	if work.Addr == "" {
		// The pooler is on the server's machine.
		work.Addr = config.Host
		if strings.HasPrefix(work.Addr, "/") {
			work.Addr = "localhost"
		}
	}
	f := checkup.Finding{
		Severity: checkup.Error, Why: "messages wait for the fallback poller, or for the safety sweep where there is none",
		Fixes: []checkup.Fix{edit("queue \"pgmq\" {\n  listen_dsn = \"postgres://%s:PASSWORD@%s/%s\"\n}", config.User, address(work.Addr, uint16(work.Port)), work.Database)},
	}
	if work.Database != other.Database || work.Started != other.Started {
		f.Seen = fmt.Sprintf("listen_dsn leads to another database (%q, server started %s) than dsn (%q, server started %s)", other.Database, other.Started, work.Database, work.Started)
		return []checkup.Finding{f}, nil
	}
	kind, err := e.poolingOf(ctx, e.ListenDSN)
	if err != nil {
		return nil, err
	}
	if kind == direct {
		f.Seen = "a notification did not arrive, although no pooler stands in between"
		f.Fixes = []checkup.Fix{advice("see whether the server's notification queue is full (`SELECT pg_notification_queue_usage()`): a session that listens and stays in a transaction holds it")}
		return []checkup.Finding{f}, nil
	}
	// A host notices and polls: some leave it at that.
	f.Severity = checkup.Warning
	f.Seen = "LISTEN goes through a pooler that swallows it: a notification did not arrive"
	return []checkup.Finding{f}, nil
}
