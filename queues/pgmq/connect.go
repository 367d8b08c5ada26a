package pgmq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// A connection that was idle this long is checked before use; checking more
	// often would cost an idle host one round trip on every pickup.
	pingIdleAfter = 10 * time.Second
	// How long a cancelled statement may take to say so before its connection
	// is given up.
	cancelGrace = time.Second
)

// role is what a pool is for. Its lock timeout bounds how long one locked table
// can keep a connection from the other queues.
type role struct {
	name        string
	lockTimeout time.Duration
	indexesOnly bool // its statements are to find rows by indexes, however few there are
}

var (
	claims      = role{name: "claim", lockTimeout: 2 * time.Second, indexesOnly: true}
	settlements = role{name: "settle", lockTimeout: 2 * time.Second, indexesOnly: true}
	heartbeats  = role{name: "heartbeat", lockTimeout: 500 * time.Millisecond, indexesOnly: true}
	listening   = role{name: "listen", lockTimeout: 2 * time.Second}
	pruning     = role{name: "prune"} // each of its transactions says how long
)

// parseDSN never repeats any part of the DSN: in a malformed one, anything may
// be the password.
func parseDSN(dsn string, opts Options, r role) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("the DSN cannot be parsed: %s", safeParseError(err))
	}
	conn := config.ConnConfig
	conn.Tracer = opts.tracer
	conn.ConnectTimeout = opts.ConnectTimeout
	name := "stephost " + r.name
	if given := conn.RuntimeParams["application_name"]; given != "" {
		name += " " + given
	}
	conn.RuntimeParams["application_name"] = name
	if err := configureDial(conn); err != nil {
		return nil, err
	}
	return config, nil
}

// safeParseError keeps the fixed part of pgx's message. What it quotes in
// parentheses can be a piece of the password.
func safeParseError(err error) string {
	text := err.Error()
	if at := strings.LastIndex(text, "`: "); at >= 0 {
		text = text[at+3:]
	}
	text, _, _ = strings.Cut(text, " (")
	var parse *pgconn.ParseConfigError
	if !errors.As(err, &parse) {
		text = "it is malformed"
	}
	return text + "; special characters in a URL's password must be percent-encoded"
}

func (b *Broker) newPool(ctx context.Context, r role, size int) (*pgxpool.Pool, error) {
	config, err := parseDSN(b.opts.DSN, b.opts, r)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(size)
	config.MinConns = 0
	config.MinIdleConns = 0
	config.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool {
		return p.IdleDuration > pingIdleAfter
	}
	// Cancelling asks the server to stop the statement and keeps the
	// connection; pgx's default drops the connection and leaves the statement
	// running.
	config.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: cancelGrace}
	}
	session := sessionOf(config.ConnConfig, r)
	config.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error {
		b.adapt(conn)
		return nil
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		registerArrays(conn.TypeMap())
		return b.afterConnect(ctx, conn, session)
	}
	return pgxpool.NewWithConfig(ctx, config)
}

// connectError makes one clear line of a failed connection.
func connectError(config *pgx.ConnConfig, err error) error {
	var server *ServerError
	if errors.As(err, &server) {
		return server
	}
	where := fmt.Sprintf("database %q at %s:%d as %q", config.Database, config.Host, config.Port, config.User)
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		err := fmt.Errorf("connect to %s: %w", where, pg)
		if pg.Code == "42501" {
			return &PermissionError{Grant: "GRANT CONNECT ON DATABASE " + quoteName(config.Database) + " TO " + quoteName(config.User), err: err}
		}
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("connect to %s: no answer in time: %w", where, context.DeadlineExceeded)
	}
	cause := err
	for next := errors.Unwrap(cause); next != nil; next = errors.Unwrap(cause) {
		cause = next
	}
	// With several addresses there is one line for each attempt.
	text, _, _ := strings.Cut(cause.Error(), "\n")
	return fmt.Errorf("connect to %s: %s", where, text)
}
