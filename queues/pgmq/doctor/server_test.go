package doctor

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/checkup"
	"github.com/stephost/stephost/internal/devpg"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

// alone is a patient with a server of its own, whose settings are no
// command-line's.
func alone(t *testing.T, settings map[string]string) (*patient, *devpg.Cluster) {
	t.Helper()
	cluster := devpgtest.Cluster(t, settings)
	conn, err := pgx.Connect(t.Context(), cluster.DSN("postgres"))
	require.NoError(t, err)
	require.NoError(t, fill(t.Context(), conn))
	require.NoError(t, conn.Close(t.Context()))
	return admit(t, cluster.DSN("postgres")), cluster
}

func TestSicknessOfTheWholeServer(t *testing.T) {
	t.Parallel()
	p, _ := alone(t, map[string]string{"max_prepared_transactions": "4", "autovacuum_naptime": "1h"})
	t.Run("dead rows", func(t *testing.T) {
		p.Limits.DeadRows = 1000
		p.exec(`INSERT INTO pgmq.q_orders_queue (vt) SELECT now() FROM generate_series(1, 4000); DELETE FROM pgmq.q_orders_queue;
			SELECT pg_stat_force_next_flush(); SELECT 1`)
		f := p.one("autovacuum")
		require.Equal(t, checkup.Warning, f.Severity)
		require.Contains(t, f.Seen, "pgmq.q_orders_queue has 4000 dead rows")
		p.follow(f)
		require.Equal(t, checkup.OK, p.one("autovacuum").Severity)
	})
	t.Run("autovacuum off", func(t *testing.T) {
		p.exec(`ALTER SYSTEM SET autovacuum = off`)
		p.exec(`SELECT pg_reload_conf()`)
		p.eventually("it is off", func() bool { return p.one("autovacuum").Severity != checkup.OK })
		f := p.one("autovacuum")
		require.Equal(t, checkup.Error, f.Severity)
		require.Contains(t, f.Seen, "autovacuum is off on the whole server")
		p.follow(f)
		p.eventually("it is on", func() bool { return p.one("autovacuum").Severity == checkup.OK })
	})
	t.Run("prepared transaction", func(t *testing.T) {
		p.exec(`BEGIN; SELECT txid_current(); PREPARE TRANSACTION 'it''s late'`)
		require.Equal(t, checkup.OK, p.one("xmin-horizon").Severity, "not for long")
		p.Limits.Transaction = time.Nanosecond
		f := p.one("xmin-horizon")
		require.Equal(t, checkup.Warning, f.Severity)
		require.Contains(t, f.Seen, `transaction 'it''s late' of user "postgres" is prepared for`)
		p.follow(f)
		require.Equal(t, checkup.OK, p.one("xmin-horizon").Severity)
	})
	t.Run("forgotten replication slot", func(t *testing.T) {
		p.exec(`SELECT pg_create_physical_replication_slot('forgotten', true)`)
		standby := p.standby("SLOT forgotten ")
		p.eventually("the slot has a horizon", func() bool { return p.number(`SELECT count(*) FROM pg_replication_slots WHERE xmin IS NOT NULL`) == 1 })
		require.Equal(t, checkup.OK, p.one("xmin-horizon").Severity, "a standby uses it")
		require.NoError(t, standby.Close(t.Context()))
		p.eventually("nobody uses the slot", func() bool { return p.number(`SELECT count(*) FROM pg_replication_slots WHERE active`) == 0 })
		f := p.one("xmin-horizon")
		require.Equal(t, checkup.Warning, f.Severity)
		require.Contains(t, f.Seen, `physical replication slot "forgotten", which nobody uses`)
		p.follow(f)
		require.Equal(t, checkup.OK, p.one("xmin-horizon").Severity)
	})
	t.Run("query on a standby", func(t *testing.T) {
		p.Limits.Transactions = 1
		standby := p.standby("")
		p.eventually("it holds a horizon", func() bool {
			return p.number(`SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender' AND backend_xmin IS NOT NULL`) == 1
		})
		p.exec(`SELECT txid_current()`)
		f := p.one("xmin-horizon")
		require.Equal(t, checkup.Warning, f.Severity)
		require.Contains(t, f.Seen, `standby "reports"`)
		require.Contains(t, f.Fixes[1].Text, "hot_standby_feedback = off")
		require.NoError(t, standby.Close(t.Context()))
		p.eventually("nobody holds it", func() bool { return p.one("xmin-horizon").Severity == checkup.OK })
	})
}

// standby is what the server takes for one that has a query running: it sends
// the horizon that the query needs.
func (p *patient) standby(slot string) *pgconn.PgConn {
	p.t.Helper()
	ctx := p.t.Context()
	xmin := uint32(p.number(`SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint`))
	var lsn string
	require.NoError(p.t, p.db.QueryRow(ctx, `SELECT pg_current_wal_flush_lsn()::text`).Scan(&lsn))
	config, err := pgconn.ParseConfig(p.DSN)
	require.NoError(p.t, err)
	config.RuntimeParams["replication"] = "true"
	config.RuntimeParams["application_name"] = "reports"
	conn, err := pgconn.ConnectConfig(ctx, config)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	conn.Frontend().SendQuery(&pgproto3.Query{String: "START_REPLICATION " + slot + "PHYSICAL " + lsn})
	require.NoError(p.t, conn.Frontend().Flush())
	for {
		message, err := conn.ReceiveMessage(ctx)
		require.NoError(p.t, err)
		if _, ok := message.(*pgproto3.CopyBothResponse); ok {
			break
		}
	}
	feedback := make([]byte, 25) // kind, time, xmin, epoch, catalog's xmin and epoch
	feedback[0] = 'h'
	binary.BigEndian.PutUint32(feedback[9:], xmin)
	conn.Frontend().Send(&pgproto3.CopyData{Data: feedback})
	require.NoError(p.t, conn.Frontend().Flush())
	return conn
}

func (p *patient) number(sql string) (n int64) {
	p.t.Helper()
	require.NoError(p.t, p.db.QueryRow(p.t.Context(), sql).Scan(&n))
	return n
}

func (p *patient) eventually(what string, check func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !check() {
		if time.Now().After(deadline) {
			p.t.Fatalf("it did not happen: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestFsyncOff(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	found := p.examine("durability")
	require.Len(t, found, 2)
	require.Contains(t, text(found...), "fsync is off")
	require.Contains(t, text(found...), "ALTER SYSTEM SET full_page_writes = on")
	p, _ = alone(t, map[string]string{"fsync": "on", "full_page_writes": "on"})
	require.Equal(t, checkup.OK, p.one("durability").Severity)
}

func TestStandby(t *testing.T) {
	t.Parallel()
	p, cluster := alone(t, nil)
	require.NoError(t, p.db.Close(t.Context()))
	require.NoError(t, os.WriteFile(filepath.Join(cluster.Dir(), "data", "standby.signal"), nil, 0o644))
	require.NoError(t, cluster.Restart(t.Context()))
	before := p.one("read-write")
	require.Equal(t, checkup.Error, before.Severity)
	require.Contains(t, before.Seen, "read-only standby")
	require.Contains(t, before.Fixes[0].Text, "target_session_attrs=read-write")
	for _, f := range p.examine() {
		switch f.Check {
		case "read-write", "durability":
		case "listen":
			require.Equal(t, checkup.Skipped, f.Severity)
			require.Contains(t, f.Seen, "during recovery")
		case "notifications":
			require.Equal(t, checkup.Skipped, f.Severity, text(f))
		default:
			require.Equal(t, checkup.OK, f.Severity, text(f))
		}
	}
	require.NoError(t, os.Remove(filepath.Join(cluster.Dir(), "data", "standby.signal")))
	require.NoError(t, cluster.Restart(t.Context()))
	require.Equal(t, checkup.OK, p.one("read-write").Severity)
}

// What has no tables is not said to have an old version, nor one lacking in them.
func TestWithoutASchema(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	p.exec(`DROP SCHEMA pgmq CASCADE`)
	for _, check := range []string{"notifications", "unused-queues"} {
		f := p.one(check)
		require.Equal(t, checkup.Skipped, f.Severity, text(f))
		require.Equal(t, "there is no schema pgmq", f.Seen)
	}
}

func TestWithoutAConnection(t *testing.T) {
	t.Parallel()
	dsn := devpgtest.New(t)
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	name := u.Path[1:]
	cluster := u.Query().Get("port")
	for what, c := range map[string]struct{ dsn, seen, fix string }{
		"no server":       {"postgres://me:hunter2@127.0.0.1:1/db", "127.0.0.1:1", "pg_isready"},
		"malformed":       {"postgres://me:hunter2%@nowhere/db", "cannot be parsed", "dsn ="},
		"no database":     {sibling(u, "/nowhere"), "does not exist", `CREATE DATABASE "nowhere";`},
		"wrong password":  {"postgres://postgres:hunter2@127.0.0.1:" + cluster + "/" + name + "?sslmode=disable", "password authentication failed", "correct user and password"},
		"connect refused": {"", "permission denied for database", fmt.Sprintf(`GRANT CONNECT ON DATABASE "%s" TO "%s_refused";`, name, name)},
	} {
		t.Run(what, func(t *testing.T) {
			if c.dsn == "" {
				db, err := pgx.Connect(t.Context(), dsn)
				require.NoError(t, err)
				defer func() { _ = db.Close(context.Background()) }()
				_, err = db.Exec(t.Context(), fmt.Sprintf("CREATE ROLE %[1]s_refused LOGIN; REVOKE CONNECT ON DATABASE %[1]s FROM PUBLIC", name), pgx.QueryExecModeSimpleProtocol)
				require.NoError(t, err)
				defer func() { _, _ = db.Exec(context.Background(), "DROP ROLE "+name+"_refused") }()
				other := *u
				other.User = url.User(name + "_refused")
				c.dsn = other.String()
				defer func() {
					_, err = db.Exec(context.Background(), Examine(t.Context(), Target{DSN: c.dsn})[0].Fixes[0].Text)
					require.NoError(t, err)
					require.Equal(t, checkup.OK, Examine(t.Context(), Target{DSN: c.dsn})[0].Severity)
					_, err = db.Exec(context.Background(), fmt.Sprintf("DROP OWNED BY %s_refused", name))
					require.NoError(t, err)
				}()
			}
			found := Examine(t.Context(), Target{DSN: c.dsn})
			require.Equal(t, "connection", found[0].Check)
			require.Equal(t, checkup.Error, found[0].Severity)
			require.Contains(t, found[0].Seen, c.seen)
			require.Contains(t, found[0].Fixes[0].Text, c.fix)
			require.NotContains(t, text(found...), "hunter2")
			require.Len(t, found, len(new(exam).checks()))
			for _, f := range found[1:] {
				require.Equal(t, checkup.Skipped, f.Severity)
			}
		})
	}
}

func sibling(u *url.URL, path string) string {
	other := *u
	other.Path = path
	return other.String()
}

func TestVersions(t *testing.T) {
	t.Parallel()
	require.Equal(t, checkup.Error, serverVersion(130012, "13.12")[0].Severity)
	require.Contains(t, serverVersion(130012, "13.12")[0].Why, "14 or newer")
	require.Equal(t, checkup.OK, serverVersion(140000, "14.0")[0].Severity)
	for version, severity := range map[int]checkup.Severity{
		schema.Version - 1: checkup.Warning, schema.Version: checkup.OK, schema.Version + 1: checkup.Warning,
	} {
		require.Equal(t, severity, aboutSchema(schema.Info{Kind: schema.Ours, Version: strconv.Itoa(version), HasMeta: true})[0].Severity)
	}
	require.Equal(t, checkup.OK, aboutSchema(schema.Info{Kind: schema.Extension, Version: "1.10.0", HasMeta: true})[0].Severity)
	require.Equal(t, checkup.OK, aboutSchema(schema.Info{Kind: schema.Foreign, HasMeta: true})[0].Severity)
}
