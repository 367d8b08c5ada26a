package schema_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues/pgmq/schema"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { devpgtest.Main(m) }

func install(ctx context.Context, conn *pgx.Conn) error {
	_, err := schema.Install(ctx, conn)
	return err
}

// db is a database of one test, with a connection.
type db struct {
	t    *testing.T
	dsn  string
	conn *pgx.Conn
}

// empty returns a database without the schema.
func empty(t *testing.T) *db {
	t.Helper()
	d := &db{t: t, dsn: devpgtest.New(t)}
	d.conn = d.connect()
	return d
}

// installed returns a database with the schema and a queue q.
func installed(t *testing.T) *db {
	t.Helper()
	d := &db{t: t, dsn: devpgtest.New(t, devpgtest.Template("schema", install))}
	d.conn = d.connect()
	d.exec("SELECT pgmq.create('q')")
	return d
}

func (d *db) connect() *pgx.Conn {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.dsn)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (d *db) exec(sql string, args ...any) {
	d.t.Helper()
	_, err := d.conn.Exec(d.t.Context(), sql, args...)
	require.NoError(d.t, err, sql)
}

// text returns the rows as the server prints them.
func (d *db) text(sql string, args ...any) []string {
	d.t.Helper()
	rows, err := d.conn.Query(d.t.Context(), "SELECT coalesce(x::text, 'NULL') FROM ("+sql+") x", args...)
	require.NoError(d.t, err, sql)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(d.t, err, sql)
	return lines
}

// refused returns the SQLSTATE-bearing error of a statement that must fail.
func (d *db) refused(contains, sql string, args ...any) {
	d.t.Helper()
	_, err := d.conn.Exec(d.t.Context(), sql, args...)
	require.ErrorContains(d.t, err, contains, sql)
}

// listen listens to a queue and returns a function that counts what has come
// in, up to a notification that it sends itself.
func (d *db) listen(queue string) (count func() int) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	d.t.Cleanup(cancel)
	listener := d.connect()
	for _, channel := range []string{fmt.Sprintf("pgmq.q_%s.INSERT", queue), "end"} {
		_, err := listener.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize())
		require.NoError(d.t, err)
	}
	return func() int {
		d.t.Helper()
		d.exec("NOTIFY \"end\"")
		for n := 0; ; n++ {
			got, err := listener.WaitForNotification(ctx)
			require.NoError(d.t, err)
			if got.Channel == "end" {
				return n
			}
			require.Empty(d.t, got.Payload)
		}
	}
}
