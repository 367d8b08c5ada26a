package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stephost/stephost/internal/checkup"
)

// minServer is PostgreSQL 14, as server_version_num counts.
const minServer = 140000

// unreachable is what can be said without a connection.
func unreachable(t Target, err error) []checkup.Finding {
	list := new(exam).checks()
	found := []checkup.Finding{{
		Check: list[0].Name, Severity: checkup.Error,
		Seen:  fmt.Sprintf("%v (the DSN is from %s)", err, origin(t)),
		Why:   "without the database no step runs",
		Fixes: []checkup.Fix{connectFix(t.DSN, err)},
	}}
	for _, c := range list[1:] {
		found = append(found, checkup.Finding{Check: c.Name, Severity: checkup.Skipped, Seen: "there is no connection to the database"})
	}
	return found
}

func origin(t Target) string {
	if t.Origin == "" {
		return "the caller"
	}
	return t.Origin
}

func connectFix(dsn string, err error) checkup.Fix {
	var (
		pg             *pgconn.PgError
		state          string
		role, database = "USER", "DATABASE"
	)
	if errors.As(err, &pg) {
		state = pg.Code
	}
	if config, err := pgconn.ParseConfig(dsn); err == nil {
		role, database = ident(config.User), ident(config.Database)
	}
	switch state {
	case "28P01", "28000":
		return advice("correct user and password in the DSN, or let pg_hba.conf of the server admit them from here")
	case "3D000":
		return sql("CREATE DATABASE %s", database)
	case "42501":
		return sql("GRANT CONNECT ON DATABASE %s TO %s", database, role)
	case "53300":
		return advice("end sessions that nobody needs, or raise max_connections and restart the server")
	case "57P03":
		return advice("the server is starting or stopping: try again when it is up")
	case "08P01", "58000":
		return advice("see the pooler's log: it answers, and does not let this connection through")
	}
	if strings.Contains(err.Error(), "cannot be parsed") {
		return edit("dsn = \"postgres://USER:PASSWORD@HOST:5432/DATABASE\"")
	}
	return advice("see whether a server listens there (`pg_isready -h HOST -p PORT`) and nothing between here and there drops the packets; or correct the DSN")
}

// connection tells what was connected to.
func (e *exam) connection(context.Context) ([]checkup.Finding, error) {
	config := e.conn.Config()
	where := fmt.Sprintf("database %q at %s:%d as role %q", e.database, config.Host, config.Port, e.role)
	encrypted := "no TLS"
	if conn, ok := e.conn.PgConn().Conn().(*tls.Conn); ok {
		encrypted = tls.VersionName(conn.ConnectionState().Version)
	} else if strings.HasPrefix(config.Host, "/") {
		encrypted = "unix socket"
	}
	seen := fmt.Sprintf("%s, %s (the DSN is from %s)", where, encrypted, origin(e.Target))
	if encrypted == "no TLS" && !local(config.Host) {
		return []checkup.Finding{{
			Severity: checkup.Warning, Seen: seen,
			Why:   "whoever sits between here and the server reads the messages, and can change them",
			Fixes: []checkup.Fix{advice("add sslmode=verify-full and sslrootcert=FILE to the DSN; sslmode=require encrypts and believes any server")},
		}}, nil
	}
	return checkup.Fine("%s", seen), nil
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (e *exam) server(ctx context.Context) ([]checkup.Finding, error) {
	v, err := row[struct {
		Number int
		Text   string
	}](ctx, e, `SELECT current_setting('server_version_num')::int, current_setting('server_version')`)
	if err != nil {
		return nil, err
	}
	return serverVersion(v.Number, v.Text), nil
}

func serverVersion(number int, text string) []checkup.Finding {
	if number < minServer {
		return []checkup.Finding{{
			Severity: checkup.Error, Seen: "PostgreSQL " + text,
			Why:   fmt.Sprintf("stephost needs %d or newer and refuses to start", minServer/10000),
			Fixes: []checkup.Fix{advice("upgrade the server (`pg_upgrade`), or point dsn at a newer one")},
		}}
	}
	return checkup.Fine("PostgreSQL %s", text)
}

func (e *exam) readWrite(ctx context.Context) ([]checkup.Finding, error) {
	// Outside of read's transaction, which is read-only itself.
	var standby bool
	var readOnly string
	err := e.conn.QueryRow(ctx, `SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')`).Scan(&standby, &readOnly)
	switch {
	case err != nil:
		return nil, err
	case standby:
		return []checkup.Finding{{
			Severity: checkup.Error, Seen: "the server is a read-only standby",
			Why:   "claiming a message is a write; a host refuses to start here",
			Fixes: []checkup.Fix{edit("dsn = \"postgres://USER@PRIMARY,STANDBY/%s?target_session_attrs=read-write\"", e.database)},
		}}, nil
	case readOnly == "on":
		return []checkup.Finding{{
			Severity: checkup.Error, Seen: fmt.Sprintf("default_transaction_read_only is on for role %q in database %q", e.role, e.database),
			Why:   "claiming a message is a write, and every one fails",
			Fixes: []checkup.Fix{sql("ALTER ROLE %s IN DATABASE %s SET default_transaction_read_only = off", ident(e.role), ident(e.database))},
		}}, nil
	}
	return checkup.Fine("a primary that takes writes"), nil
}

// searchPath looks for functions of others that come before those of the
// system: stephost, and pgmq's functions, name the schema of tables and not that
// of the system's functions.
func (e *exam) searchPath(ctx context.Context) ([]checkup.Finding, error) {
	shadows, err := rows(ctx, e, pgx.RowTo[string], `
		WITH path AS (SELECT name, place FROM unnest(current_schemas(true)) WITH ORDINALITY AS s(name, place))
		SELECT DISTINCT p.oid::regprocedure::text
		FROM path JOIN pg_catalog.pg_namespace n ON n.nspname = path.name JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid
		WHERE path.place < (SELECT place FROM path WHERE name = 'pg_catalog')
		  AND EXISTS (SELECT FROM pg_catalog.pg_proc c WHERE c.pronamespace = 'pg_catalog'::regnamespace AND c.proname = p.proname)
		ORDER BY 1 LIMIT 20`)
	if err != nil {
		return nil, err
	}
	path, err := row[struct{ Path string }](ctx, e, `SELECT current_setting('search_path')`)
	if err != nil {
		return nil, err
	}
	if len(shadows) > 0 {
		return []checkup.Finding{{
			Severity: checkup.Error, Seen: fmt.Sprintf("search_path is %s, and hides functions of the system behind %s", path.Path, strings.Join(shadows, ", ")),
			Why:   "statements of stephost and of pgmq call them instead of the system's",
			Fixes: []checkup.Fix{sql("ALTER ROLE %s IN DATABASE %s SET search_path = pg_catalog, public", ident(e.role), ident(e.database))},
		}}, nil
	}
	return checkup.Fine("search_path is %s; no function of the system is hidden", path.Path), nil
}

// clock compares the clocks. Nothing depends on it.
func (e *exam) clock(ctx context.Context) ([]checkup.Finding, error) {
	before := time.Now()
	at, err := row[struct{ At time.Time }](ctx, e, `SELECT clock_timestamp()`)
	if err != nil {
		return nil, err
	}
	took := time.Since(before)
	ahead := at.At.Sub(before.Add(took / 2)).Round(time.Millisecond)
	text := fmt.Sprintf("the database's clock is %v ahead of this machine's", ahead)
	if ahead < 0 {
		text = fmt.Sprintf("the database's clock is %v behind this machine's", -ahead)
	}
	return checkup.Fine("%s; only the database's counts for messages", text), nil
}

func (e *exam) durability(ctx context.Context) ([]checkup.Finding, error) {
	s, err := row[struct{ Fsync, FullPageWrites, Commit string }](ctx, e,
		`SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')`)
	if err != nil {
		return nil, err
	}
	var found []checkup.Finding
	for name, value := range map[string]string{"fsync": s.Fsync, "full_page_writes": s.FullPageWrites} {
		if value == "off" {
			found = append(found, checkup.Finding{
				Severity: checkup.Warning, Seen: name + " is off",
				Why:   "when the machine goes down, the database may be damaged beyond repair, with all messages",
				Fixes: []checkup.Fix{sql("ALTER SYSTEM SET %s = on", name), sql("SELECT pg_reload_conf()")},
			})
		}
	}
	if s.Commit == "off" {
		found = append(found, checkup.Finding{
			Severity: checkup.Warning, Seen: fmt.Sprintf("synchronous_commit is off for role %q", e.role),
			Why:   "when the server goes down, settlements and results of the last moments are forgotten and their steps run again",
			Fixes: []checkup.Fix{sql("ALTER ROLE %s IN DATABASE %s SET synchronous_commit = on", ident(e.role), ident(e.database))},
		})
	}
	if len(found) == 0 {
		return checkup.Fine("fsync and full_page_writes are on, synchronous_commit is %s", s.Commit), nil
	}
	return found, nil
}

// connections compares what a host needs with what the server, the database and
// the role allow.
func (e *exam) connections(ctx context.Context) ([]checkup.Finding, error) {
	c, err := row[struct{ Limit, Used, OfRole, OfDatabase, RoleLimit, DatabaseLimit, Hosts, OfHosts int }](ctx, e, `
		SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int - coalesce(current_setting('reserved_connections', true), '0')::int,
		       (count(*) FILTER (WHERE backend_type = 'client backend' OR backend_type IS NULL))::int,
		       (count(*) FILTER (WHERE usename = current_user))::int,
		       (count(*) FILTER (WHERE datname = current_database()))::int,
		       (SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user),
		       (SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = current_database()),
		       (count(*) FILTER (WHERE application_name LIKE 'stephost listen%' OR application_name LIKE 'stephost heartbeat%'))::int,
		       (count(*) FILTER (WHERE application_name LIKE 'stephost %' AND application_name <> 'stephost doctor'))::int
		FROM pg_catalog.pg_stat_activity`)
	if err != nil {
		return nil, err
	}
	most := e.MaxConnections + 1
	beside := "LISTEN"
	if slices.ContainsFunc(e.Queues, func(q Queue) bool { return q.PruneArchive || q.PruneDead }) {
		most++
		beside = "LISTEN, and deleting what is old"
	}
	// What hosts hold already they need not be given again.
	need := max(0, most-c.OfHosts)
	room := func(limit, used int) bool { return limit < 0 || limit-used >= need }
	var found []checkup.Finding
	complain := func(what string, limit, used int, fixes ...checkup.Fix) {
		found = append(found, checkup.Finding{
			Severity: checkup.Error,
			Seen:     fmt.Sprintf("%s allows %d connections, %d are in use, and a host needs up to %d more (max_connections of the queue block, and %s)", what, limit, used, need, beside),
			Why:      "a host that gets no connection cannot claim or settle; leases run out, and steps run again",
			Fixes:    fixes,
		})
	}
	if !room(c.Limit, c.Used) {
		complain("the server", c.Limit, c.Used, sql("ALTER SYSTEM SET max_connections = %d", 2*c.Limit+need), advice("restart the server then; or lower max_connections in the queue block, or put a pooler in between"))
	}
	if !room(c.RoleLimit, c.OfRole) {
		complain(fmt.Sprintf("role %q", e.role), c.RoleLimit, c.OfRole, sql("ALTER ROLE %s CONNECTION LIMIT %d", ident(e.role), c.OfRole+2*need))
	}
	if !room(c.DatabaseLimit, c.OfDatabase) {
		complain(fmt.Sprintf("database %q", e.database), c.DatabaseLimit, c.OfDatabase, sql("ALTER DATABASE %s CONNECTION LIMIT %d", ident(e.database), c.OfDatabase+2*need))
	}
	if len(found) == 0 {
		return checkup.Fine("%d of %d connections in use, %d of them by hosts; a host needs up to %d", c.Used, c.Limit, c.OfHosts, most), nil
	}
	return found, nil
}

func ident(name string) string { return pgx.Identifier{name}.Sanitize() }
