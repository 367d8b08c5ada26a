package pgmq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const minServerVersion = 140000

// sessionSettings are what a connection sets for its session.
type sessionSettings struct {
	values map[string]string
	// ours: a setting may stay with the session.
	ours bool
}

// sessionOf tells what may be set. A DSN that has another exec mode than pgx's
// own says that a pooler shares the sessions. What the DSN sets itself is left
// alone.
func sessionOf(conn *pgx.ConnConfig, r role) sessionSettings {
	s := sessionSettings{values: map[string]string{}, ours: conn.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement}
	if !s.ours {
		return s
	}
	s.values["lock_timeout"] = fmt.Sprintf("%dms", r.lockTimeout.Milliseconds())
	if r.indexesOnly {
		// A queue that was empty when it was last analysed looks as if reading all of it
		// cost nothing, and the plan stays when it fills up. A long one makes the plan look
		// costly enough to be compiled, which takes longer than any claim.
		s.values["enable_seqscan"], s.values["jit"] = "off", "off"
	}
	for name := range conn.RuntimeParams {
		delete(s.values, name)
	}
	return s
}

// greeting asks a new connection what it leads to, and prepares its session if
// that is its own. Functions and operators of pg_catalog win in it over others of
// the same name, whatever the database's search_path says; what triggers and the
// like look for is still found. Everything is qualified here, since this runs
// before.
//
// Parameters: settings, process id as the client knows it, whether the
// session may be changed.
const greeting = `SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4, pg_catalog.pg_is_in_recovery(),
		pg_catalog.current_setting('transaction_read_only'), pg_catalog.pg_postmaster_start_time(), pg_catalog.pg_backend_pid(),
		(SELECT pg_catalog.count(pg_catalog.set_config(s.key, s.value, false)) FROM pg_catalog.jsonb_each_text($1::pg_catalog.jsonb) AS s
		 WHERE pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) $2::pg_catalog.int4),
		CASE WHEN $3::pg_catalog.bool AND pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) $2::pg_catalog.int4
		     THEN pg_catalog.set_config('search_path', CASE WHEN pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.=) '' THEN 'pg_catalog'
		          ELSE pg_catalog.concat('pg_catalog, ', pg_catalog.current_setting('search_path')) END, false) END IS NULL`

// afterConnect refuses a server that cannot be worked with and learns its
// incarnation, on every new connection, since a failover may change both. It
// leaves nothing in a session that is not this connection's own.
func (b *Broker) afterConnect(ctx context.Context, conn *pgx.Conn, session sessionSettings) error {
	var (
		server  serverState
		started time.Time
		pid     uint32
		told    = conn.PgConn().PID()
	)
	settings, err := json.Marshal(session.values)
	if err != nil {
		return err
	}
	err = conn.QueryRow(ctx, greeting, pgx.QueryExecModeExec, string(settings), int32(told), session.ours).
		Scan(&server.version, &server.recovery, &server.readOnly, &started, &pid, nil, nil)
	if err != nil {
		return fmt.Errorf("ask the server for its version: %w", err)
	}
	if err := server.check(); err != nil {
		return err
	}
	b.incarnation.Store(uint64(started.UnixMicro()))
	if pid != told {
		return b.behindPooler(conn)
	}
	return nil
}

// ServerError says that a server can be reached and cannot be used.
type ServerError struct{ Reason string }

func (e *ServerError) Error() string { return e.Reason }

// errReadOnly is for statements that are refused, and connections that would be.
var errReadOnly = errors.New("the database takes no writes: connect to the primary, or turn default_transaction_read_only off for the server, the database and the role")

// serverState is what decides whether a server can be used.
type serverState struct {
	version  int // as in server_version_num
	recovery bool
	readOnly string // transaction_read_only
}

func (s serverState) check() error {
	switch {
	case s.version < minServerVersion:
		return &ServerError{fmt.Sprintf("the server is PostgreSQL %d; stephost needs %d or newer", s.version/10000, minServerVersion/10000)}
	case s.recovery:
		return &ServerError{"the server is a read-only standby; connect to the primary (target_session_attrs=read-write chooses it among several hosts)"}
	case s.readOnly == "on":
		return &ServerError{errReadOnly.Error()}
	}
	return nil
}
