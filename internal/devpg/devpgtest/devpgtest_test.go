package devpgtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { devpgtest.Main(m) }

func TestNewGivesEachTestItsOwnCopyOfTheTemplate(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			before := time.Now()
			dsn := devpgtest.New(t, devpgtest.Template("notes", func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, "CREATE TABLE notes (n int); INSERT INTO notes VALUES (1000)")
				return err
			}))
			t.Log(time.Since(before))
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
