package pgseam_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/internal/pgseam"
)

func TestMain(m *testing.M) { devpgtest.Main(m) }

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// What a cut at a seam means: before the server has seen the statement nothing
// has happened, after it has committed everything has.
func TestStatementIsStoppedAtItsSeams(t *testing.T) {
	t.Parallel()
	dsn := devpgtest.New(t)
	direct := connect(t, dsn)
	_, err := direct.Exec(t.Context(), "CREATE TABLE notes (n int)")
	require.NoError(t, err)
	rows := func() (n int) {
		require.NoError(t, direct.QueryRow(t.Context(), "SELECT count(*) FROM notes").Scan(&n))
		return n
	}
	proxy, err := pgseam.New(dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, proxy.Close()) })

	for _, c := range []struct {
		seam          pgseam.Seam
		cut           bool
		during, after int
	}{
		{pgseam.Request, true, 0, 0},
		{pgseam.Request, false, 0, 1},
		{pgseam.Reply, true, 2, 2},
		{pgseam.Reply, false, 3, 3},
	} {
		conn := connect(t, proxy.DSN())
		trap := proxy.Arm("INSERT INTO notes", c.seam)
		_, err := conn.Exec(t.Context(), "SELECT $1::int", 1)
		require.NoError(t, err, "another statement passes")
		done := make(chan error, 1)
		go func() {
			_, err := conn.Exec(t.Context(), "INSERT INTO notes VALUES ($1)", 1)
			done <- err
		}()
		select {
		case <-trap.Caught():
		case <-time.After(30 * time.Second):
			t.Fatal("the statement was not caught")
		}
		require.Equal(t, c.during, rows())
		if c.cut {
			trap.Cut()
			require.Error(t, <-done)
		} else {
			trap.Release()
			require.NoError(t, <-done)
		}
		require.Equal(t, c.after, rows())
	}
}
