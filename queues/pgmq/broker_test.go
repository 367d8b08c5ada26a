package pgmq

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/devpg"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

func TestOpenNeverPrintsThePassword(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := closed.Addr().String()
	require.NoError(t, closed.Close())
	for name, dsn := range map[string]string{
		"unreachable":          "postgres://me:sesame@" + address + "/db?sslmode=disable",
		"not encoded":          "postgres://me:ses#ame@localhost/db",
		"percent":              "postgres://me:sesame%zz@localhost/db",
		"slash":                "postgres://me:ses/ame@localhost:x/db",
		"keywords":             "host=localhost password='sesame",
		"no URL":               "me:sesame@localhost",
		"bad sslmode":          "postgres://me:sesame@localhost/db?sslmode=sesame",
		"bad tcp_user_timeout": "postgres://me:sesame@localhost/db?tcp_user_timeout=sesame",
		"bad exec mode":        "postgres://me:sesame@localhost/db?default_query_exec_mode=sesame",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(t.Context(), Options{DSN: dsn, ConnectTimeout: 5 * time.Second})
			require.Error(t, err)
			require.NotContains(t, err.Error(), "ame")
			require.NotContains(t, err.Error(), "ses")
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestOpenGivesUpOnASilentServer(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	_, err = Open(t.Context(), Options{DSN: "postgres://me@" + silent.Addr().String() + "/db?sslmode=disable", ConnectTimeout: 100 * time.Millisecond})
	require.ErrorContains(t, err, "no answer in time")
}

func TestOpenChecksOptions(t *testing.T) {
	t.Parallel()
	for _, opts := range []Options{
		{},
		{DSN: "x", MaxConnections: 2},
		{DSN: "x", OnComplete: "burn"},
		{DSN: "x", Notifications: "pigeon"},
		{DSN: "postgres://localhost/db", ListenDSN: "postgres://%"},
	} {
		_, err := Open(t.Context(), opts)
		require.Error(t, err)
	}
}

func TestServersThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	require.NoError(t, serverState{version: 140000, readOnly: "off"}.check())
	for says, state := range map[string]serverState{
		"PostgreSQL 13; stephost needs 14": {version: 130012, readOnly: "off"},
		"PostgreSQL 9; stephost needs 14":  {version: 90624, recovery: true, readOnly: "on"},
		"read-only standby":                {version: 170000, recovery: true, readOnly: "on"},
		"default_transaction_read_only":    {version: 170000, readOnly: "on"},
	} {
		require.ErrorContains(t, state.check(), says)
	}
}

// Poolers between host and server need pgx's other modes.
func TestEveryExecMode(t *testing.T) {
	t.Parallel()
	dsn := pgmqtest.New(t, pgmqtest.Upgraded)
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		b := open(t, withParameter(t, dsn, "default_query_exec_mode", mode))
		queue := "orders_" + mode
		b.create(queue)
		b.send(queue, `{"a": "\\ ' \u00e9"}`, `2`)
		claimed := b.claim(queue, 2)
		require.Equal(t, []string{`{"a": "\\ ' é"}`, `2`}, bodies(claimed), mode)
		statuses, err := b.Extend(t.Context(), queue, []queues.Lease{claimed[0].Lease, {Queue: queue, ID: 99}}, time.Minute)
		require.NoError(t, err, mode)
		require.Equal(t, []queues.ExtendStatus{queues.Extended, queues.ExtendLost}, statuses, mode)
		b.mustEnd(claimed[0].Lease, queues.Retry{Record: queues.Record{Failures: 2}})
		again := b.claimOne(queue)
		require.Equal(t, 2, again.Record.Failures, mode)
		out := sends(queue, `3`)
		out[0].Headers, out[0].Delay = []byte(`{"h": 1}`), time.Hour
		b.mustEnd(again.Lease, queues.Complete{Send: append(out, queues.Outgoing{Queue: queue, Body: []byte(`4`)})})
		b.mustEnd(claimed[1].Lease, queues.DeadLetter{Queue: queue + "_dead", Record: again.Record})
		states, err := b.Probe(t.Context(), []string{queue})
		require.NoError(t, err, mode)
		require.True(t, states[0].Visible, mode)
		replayed, err := b.DeadReplay(t.Context(), queue+"_dead", DeadIDs(1), ReplayOptions{})
		require.NoError(t, err, mode)
		require.Equal(t, int64(1), replayed.Done)
		peeked, err := b.Peek(t.Context(), queue, 10)
		require.NoError(t, err, mode)
		require.Len(t, peeked, 3, mode)
	}
}

func withParameter(t *testing.T, dsn, name, value string) string {
	t.Helper()
	require.Contains(t, dsn, "://")
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	return dsn + separator + name + "=" + value
}

func TestPingAndIncarnation(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	require.NoError(t, b.Ping(t.Context()))
	var started time.Time
	require.NoError(t, b.db.QueryRow(t.Context(), "SELECT pg_postmaster_start_time()").Scan(&started))
	require.Equal(t, uint64(started.UnixMicro()), b.Incarnation())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, b.Ping(ended))
}

func TestExistsForgetsAfterAWhile(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	var now time.Time
	b.existence.now = func() time.Time { return now }
	exists := func() bool {
		ok, err := b.Exists(t.Context(), "orders")
		require.NoError(t, err)
		return ok
	}
	require.False(t, exists())
	b.exec(`SELECT pgmq.create('orders')`)
	require.False(t, exists())
	now = now.Add(existsFor)
	require.True(t, exists())
	dropped, err := b.DropQueue(t.Context(), "orders")
	require.NoError(t, err)
	require.True(t, dropped)
	require.False(t, exists(), "what this broker drops it knows at once")
}

func TestMissingGrantIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	b.exec(`DO $$ BEGIN CREATE ROLE stephost_test_poor LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`)
	b.exec(`GRANT USAGE ON SCHEMA pgmq TO stephost_test_poor; GRANT SELECT ON pgmq.q_orders TO stephost_test_poor`)
	config, err := pgx.ParseConfig(b.dsn)
	require.NoError(t, err)
	poor := open(t, "host="+config.Host+" port="+strconv.Itoa(int(config.Port))+" dbname="+config.Database+" user=stephost_test_poor")
	_, err = poor.Claim(t.Context(), queues.ClaimRequest{Queue: "orders", Limit: 1, Lease: time.Minute})
	var denied *PermissionError
	require.ErrorAs(t, err, &denied)
	require.Equal(t, `GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE pgmq.q_orders TO stephost_test_poor`, denied.Grant)
	states, err := poor.Probe(t.Context(), []string{"orders"})
	require.NoError(t, err)
	require.NoError(t, states[0].Err)
	result := poor.end(queues.Lease{Queue: "orders", ID: 1, Epoch: 1}, queues.Complete{})
	require.Equal(t, queues.SettleUnknown, result.Status, "an operator can mend it")
	require.ErrorAs(t, result.Err, &denied)
}

func TestRestartChangesTheIncarnation(t *testing.T) {
	t.Parallel()
	cluster, err := devpg.Start(t.Context(), devpg.Options{Ephemeral: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Stop(context.Background())) })
	db, err := pgx.Connect(t.Context(), cluster.DSN("postgres"))
	require.NoError(t, err)
	require.NoError(t, pgmqtest.Install(t.Context(), db, pgmqtest.V1_10))
	require.NoError(t, db.Close(t.Context()))

	b := open(t, cluster.DSN("postgres"))
	b.create("orders")
	b.send("orders", `{}`)
	d := b.claimOne("orders")
	before := b.Incarnation()
	require.NoError(t, cluster.Restart(t.Context()))
	require.Eventually(t, func() bool { return b.Ping(t.Context()) == nil }, patience, 10*time.Millisecond)
	require.Greater(t, b.Incarnation(), before)
	require.Eventually(t, func() bool {
		statuses, err := b.Extend(t.Context(), "orders", []queues.Lease{d.Lease}, time.Minute)
		return err == nil && statuses[0] == queues.Extended
	}, patience, 10*time.Millisecond)
	b.mustEnd(d.Lease, queues.Complete{})
}

func TestALockedTableHoldsNoConnectionForLong(t *testing.T) {
	t.Parallel()
	dsn := withParameter(t, pgmqtest.New(t, pgmqtest.V1_10), "lock_timeout", "50ms")
	b := open(t, dsn)
	b.create("orders")
	b.send("orders", `{}`)
	d := b.claimOne("orders")
	b.exec("BEGIN")
	b.exec("LOCK TABLE pgmq.q_orders IN ACCESS EXCLUSIVE MODE")
	result := b.end(d.Lease, queues.Complete{})
	require.Equal(t, queues.SettleUnknown, result.Status)
	require.ErrorContains(t, result.Err, "55P03")
	_, err := b.Claim(t.Context(), queues.ClaimRequest{Queue: "orders", Limit: 1, Lease: time.Minute})
	require.ErrorContains(t, err, "55P03")
	_, err = b.Extend(t.Context(), "orders", []queues.Lease{d.Lease}, time.Minute)
	require.ErrorContains(t, err, "55P03")
	b.exec("ROLLBACK")
	b.mustEnd(d.Lease, queues.Complete{})
}

func TestEveryPoolHasALockTimeout(t *testing.T) {
	t.Parallel()
	dsn := pgmqtest.New(t, pgmqtest.V1_10)
	b := open(t, dsn)
	for want, pool := range map[string]*pgxpool.Pool{"2s": b.work, "500ms": b.beat} {
		var got string
		require.NoError(t, pool.QueryRow(t.Context(), "SHOW lock_timeout").Scan(&got))
		require.Equal(t, want, got)
	}
	pooled := open(t, withParameter(t, dsn, "default_query_exec_mode", "exec"))
	var got string
	require.NoError(t, pooled.work.QueryRow(t.Context(), "SHOW lock_timeout").Scan(&got))
	require.Equal(t, "0", got, "a transaction pooler would hand the session to someone else")
}

// pgmq may be upgraded under a running host.
func TestProbeNoticesNewColumns(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_4)
	b.create("orders")
	b.send("orders", `{}`)
	d := b.claimOne("orders")
	b.exec(`ALTER TABLE pgmq.q_orders ADD COLUMN headers jsonb; ALTER TABLE pgmq.a_orders ADD COLUMN headers jsonb`)
	_, err := b.Probe(t.Context(), []string{"orders"})
	require.NoError(t, err)
	b.mustEnd(d.Lease, queues.Retry{Record: queues.Record{Failures: 1}})
	require.Equal(t, 1, b.count(`pgmq.q_orders WHERE headers #>> '{stephost,failures}' = '1'`))
}

// A column that is gone is noticed by the statement that names it.
func TestStatementsNoticeDroppedColumns(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	b.send("orders", `{}`)
	d := b.claimOne("orders")
	b.exec(`ALTER TABLE pgmq.q_orders DROP COLUMN headers, DROP COLUMN last_read_at`)
	b.mustEnd(d.Lease, queues.Retry{Record: queues.Record{Failures: 1}})
	require.Equal(t, 1, b.claimOne("orders").Record.Failures)
}
