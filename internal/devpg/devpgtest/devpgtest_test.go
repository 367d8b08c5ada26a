package devpgtest_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { devpgtest.Main(m) }

func TestNewGivesEachTestItsOwnCopyOfTheTemplate(t *testing.T) {
	t.Parallel()
	var filled atomic.Int32
	t.Cleanup(func() { require.EqualValues(t, 1, filled.Load(), "a template is filled once") })
	for i := range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			dsn := devpgtest.New(t, devpgtest.Template("notes", func(ctx context.Context, conn *pgx.Conn) error {
				filled.Add(1)
				_, err := conn.Exec(ctx, "CREATE TABLE notes (n int); INSERT INTO notes VALUES (1000)")
				return err
			}))
			conn, err := pgx.Connect(t.Context(), dsn)
			require.NoError(t, err)
			defer conn.Close(context.Background())
			_, err = conn.Exec(t.Context(), "INSERT INTO notes VALUES ($1)", i)
			require.NoError(t, err)
			var notes []int
			require.NoError(t, conn.QueryRow(t.Context(), "SELECT array_agg(n ORDER BY n) FROM notes").Scan(&notes))
			require.Equal(t, []int{i, 1000}, notes)
		})
	}
}

func TestDatabaseIsDroppedAtTheEndOfItsTest(t *testing.T) {
	t.Parallel()
	var dsn string
	t.Run("uses it", func(t *testing.T) {
		dsn = devpgtest.New(t)
		conn, err := pgx.Connect(t.Context(), dsn)
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close(context.Background()) })
		var tables int
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables))
		require.Zero(t, tables)
	})
	_, err := pgx.Connect(t.Context(), dsn)
	require.ErrorContains(t, err, "does not exist")
}

func TestClusterIsApartFromTheShared(t *testing.T) {
	t.Parallel()
	cluster := devpgtest.Cluster(t, map[string]string{"work_mem": "5MB"})
	cluster.Crash()
	require.NoError(t, cluster.Restart(t.Context()))
	shared, err := pgx.Connect(t.Context(), devpgtest.New(t))
	require.NoError(t, err)
	require.NoError(t, shared.Close(t.Context()))

	own, err := pgx.Connect(t.Context(), cluster.DSN("postgres"))
	require.NoError(t, err)
	defer own.Close(context.Background())
	var memory string
	require.NoError(t, own.QueryRow(t.Context(), "SHOW work_mem").Scan(&memory))
	require.Equal(t, "5MB", memory)
}
