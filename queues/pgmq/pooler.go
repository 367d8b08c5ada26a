package pgmq

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A pooler lends a server's session to one client after the other, in
// transaction mode for a single transaction. What a session keeps, such as a
// prepared statement, a setting or a LISTEN, then belongs to somebody else. The
// pooler gives its clients process ids of its own making: so a connection
// whose process on the server is another one than it was told goes through a
// pooler. A pooler in session mode looks the same; there it costs the time
// that a statement takes to be parsed.

// errPooled ends a connection that would prepare statements in sessions that
// are not its own.
var errPooled = errors.New("a pooler stands before the server: connecting again, without prepared statements")

// choosesExecMode tells whether the DSN says itself how statements are to be
// run. Then that is done, whatever stands in between.
func choosesExecMode(dsn string) bool { return strings.Contains(dsn, "default_query_exec_mode") }

// adapt has the connections of a pool made for what they lead to.
func (b *Broker) adapt(conn *pgx.ConnConfig) {
	if b.pooled.Load() && !choosesExecMode(b.opts.DSN) {
		conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	// A session that was another client's brings the notifications of channels
	// that it listened to. pgx would keep them for somebody who never asks.
	conn.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}
}

// behindPooler notes a connection that goes through a pooler. An error means
// that the connection must be made again.
func (b *Broker) behindPooler(conn *pgx.Conn) error {
	if choosesExecMode(b.opts.DSN) {
		return nil
	}
	if !b.pooled.Swap(true) {
		b.opts.Logger.Info("a pooler stands between here and the server: statements are not prepared")
	}
	if conn.Config().DefaultQueryExecMode == pgx.QueryExecModeExec {
		return nil
	}
	return errPooled
}

// followServer looks whether the server is another one by now. A pooler hides
// that: its clients keep their connections while the server is started anew.
func (b *Broker) followServer(ctx context.Context, conn *pgxpool.Conn) error {
	if !b.pooled.Load() {
		return nil
	}
	var started time.Time
	if err := conn.QueryRow(ctx, `SELECT pg_postmaster_start_time()`).Scan(&started); err != nil {
		return err
	}
	b.incarnation.Store(uint64(started.UnixMicro()))
	return nil
}
