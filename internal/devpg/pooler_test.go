package devpg_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/devpg"
)

func TestPoolerSharesItsConnections(t *testing.T) {
	t.Parallel()
	cluster, err := devpg.Start(t.Context(), devpg.Options{Ephemeral: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Stop(t.Context())) })
	pooler, err := cluster.StartPooler(t.Context(), devpg.PoolerOptions{Connections: 1})
	if errors.Is(err, devpg.ErrNoPooler) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pooler.Stop()) })

	backend := func(conn *pgx.Conn) (pid uint32) {
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT pg_backend_pid()", pgx.QueryExecModeExec).Scan(&pid))
		return pid
	}
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), pooler.DSN("postgres"))
		require.NoError(t, err, pooler.LogTail(10))
		t.Cleanup(func() { _ = conn.Close(t.Context()) })
		return conn
	}
	first, second := connect(), connect()
	require.Equal(t, backend(first), backend(second))
	require.NotEqual(t, first.PgConn().PID(), backend(first))

	require.NoError(t, pooler.Restart(t.Context()))
	require.Error(t, first.Ping(t.Context()))
	require.NotZero(t, backend(connect()))
}
