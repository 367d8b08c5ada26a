package schema

import (
	"testing"

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
