package schema

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stretchr/testify/require"
)

// TestQueuesOfAnOlderVersionGoOn: an upgrade keeps queues with their messages,
// triggers and throttles, and leaves what a new installation has.
func TestQueuesOfAnOlderVersionGoOn(t *testing.T) {
	t.Parallel()
	open := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), devpgtest.New(t))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(t.Context()) })
		return conn
	}
	fresh, conn := open(), open()
	_, err := Install(t.Context(), fresh)
	require.NoError(t, err)
	require.NoError(t, pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		return apply(t.Context(), tx, Result{From: 0, To: 1})
	}))
	exec := func(sql string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
	exec(`SELECT pgmq.create('q')`)
	exec(`SELECT pgmq.enable_notify_insert('q', 3600000)`)
	exec(`SELECT pgmq.send('q', '{"n": 1}'::jsonb)`)

	result, err := Install(t.Context(), conn)
	require.NoError(t, err)
	require.Equal(t, Result{From: 1, To: Version}, result)
	exec(`SELECT pgmq.send('q', '{"n": 2}'::jsonb)`) // by the trigger of before
	var queued int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM pgmq.q_q`).Scan(&queued))
	require.Equal(t, 2, queued)

	const functions = `SELECT p.oid::regprocedure::text || md5(pg_get_functiondef(p.oid)) FROM pg_proc p WHERE p.pronamespace = 'pgmq'::regnamespace ORDER BY 1`
	text := func(c *pgx.Conn) []string {
		rows, err := c.Query(t.Context(), functions)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return lines
	}
	require.Equal(t, text(fresh), text(conn))
}

// TestUpgradeReplacesTriggers: also of queues whose names no setting could have,
// but of none whose table is in use for long, and of none that is disabled.
func TestUpgradeReplacesTriggers(t *testing.T) {
	t.Parallel()
	dsn := devpgtest.New(t)
	open := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), dsn)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(t.Context()) })
		return conn
	}
	conn, other := open(), open()
	require.NoError(t, pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		return apply(t.Context(), tx, Result{From: 0, To: 1})
	}))
	exec := func(sql string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
	for _, queue := range []string{"Free-One", "busy", "off"} {
		exec(`SELECT pgmq.create('` + queue + `')`)
	}
	exec(`ALTER TABLE pgmq.q_off DISABLE TRIGGER trigger_notify_queue_insert_listeners`)
	send := func(queue string) {
		t.Helper()
		_, err := other.Exec(t.Context(), `SELECT pgmq.send('`+queue+`', '1'::jsonb)`)
		require.NoError(t, err)
	}
	send("Free-One")
	using, err := other.Begin(t.Context())
	require.NoError(t, err)
	_, err = using.Exec(t.Context(), `SELECT pgmq.send('busy', '1'::jsonb)`)
	require.NoError(t, err)

	_, err = Install(t.Context(), conn)
	require.NoError(t, err)
	require.NoError(t, using.Commit(t.Context()))
	rows, err := conn.Query(t.Context(), `
		SELECT tgrelid::regclass || ' ' || tgenabled::text || ' ' || (tgqual IS NOT NULL)::text FROM pg_trigger
		WHERE tgname = 'trigger_notify_queue_insert_listeners' ORDER BY 1`)
	require.NoError(t, err)
	triggers, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{`pgmq."q_free-one" O true`, "pgmq.q_busy O false", "pgmq.q_off D false"}, triggers)

	for queue, channel := range map[string]string{"free-one": `"pgmq.q_free-one.INSERT"`, "busy": `"pgmq.q_busy.INSERT"`} {
		_, err = other.Exec(t.Context(), "LISTEN "+channel)
		require.NoError(t, err)
		exec(`SELECT pgmq.update_notify_insert('` + queue + `', 3600000)`)
		send(queue) // the session has kept what it learned of the older one
		waiting, cancel := context.WithTimeout(t.Context(), time.Minute)
		got, err := other.WaitForNotification(waiting)
		cancel()
		require.NoError(t, err)
		require.Equal(t, channel, `"`+got.Channel+`"`)
	}
}
