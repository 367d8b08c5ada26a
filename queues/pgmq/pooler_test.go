package pgmq

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/devpg"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues"
)

// pooled is a cluster with a PgBouncer before it.
type pooled struct {
	cluster *devpg.Cluster
	pooler  *devpg.Pooler
}

// behindPooler installs the schema through the pooler.
func behindPooler(t *testing.T, opts devpg.PoolerOptions) pooled {
	t.Helper()
	cluster := devpgtest.Cluster(t, nil)
	pooler, err := cluster.StartPooler(t.Context(), opts)
	if errors.Is(err, devpg.ErrNoPooler) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pooler.Stop()) })
	conn, err := Connect(t.Context(), pooler.DSN("postgres"))
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	require.NoError(t, installOurs(t.Context(), conn))
	return pooled{cluster, pooler}
}

// open opens a broker through the pooler. The bundle's connection for looking
// goes through it too.
func (p pooled) open(t *testing.T, change ...func(*Options)) *bundle {
	t.Helper()
	return open(t, p.pooler.DSN("postgres")+"&default_query_exec_mode=exec",
		append(change, func(o *Options) { o.DSN = p.pooler.DSN("postgres") })...)
}

// Two sessions serve four workers with three pools, so each of them meets the
// others' sessions.
func TestATransactionPoolerNeedsNoSetting(t *testing.T) {
	t.Parallel()
	p := behindPooler(t, devpg.PoolerOptions{Connections: 2})
	b := p.open(t)
	const workers, rounds = 4, 25
	b.create("orders", "results")
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range rounds {
				_, err := b.Send(t.Context(), "orders", []queues.Outgoing{{Queue: "orders", Body: []byte(`{"a": "\\ é"}`)}})
				if !noError(t, err) {
					return
				}
				got, err := b.Claim(t.Context(), queues.ClaimRequest{Queue: "orders", Limit: 2, Lease: time.Minute})
				if !noError(t, err) {
					return
				}
				if len(got) == 0 {
					continue // a neighbour took two
				}
				leases := make([]queues.Lease, len(got))
				batch := make([]queues.Settlement, len(got))
				for i, d := range got {
					leases[i] = d.Lease
					batch[i] = queues.Settlement{Lease: d.Lease, Action: queues.Complete{Send: sends("results", `1`)}}
				}
				_, err = b.Extend(t.Context(), "orders", leases, time.Minute)
				noError(t, err)
				for _, r := range b.Settle(t.Context(), "orders", batch) {
					noError(t, r.Err)
				}
				_, err = b.Probe(t.Context(), []string{"orders", "missing"})
				noError(t, err)
			}
		})
	}
	all.Wait()
	for d := b.claim("orders", 100); len(d) > 0; d = b.claim("orders", 100) {
		for _, d := range d {
			b.mustEnd(d.Lease, queues.Complete{Send: sends("results", `1`)})
		}
	}
	require.Equal(t, workers*rounds, b.count("pgmq.a_orders"))
	require.Equal(t, workers*rounds, b.count("pgmq.q_results"))

	var timeout string
	require.NoError(t, b.db.QueryRow(t.Context(), "SHOW lock_timeout").Scan(&timeout))
	require.Equal(t, "0", timeout, "the session is somebody else's now")
}

// noError is for goroutines, which must not end the test.
func noError(t *testing.T, err error) bool {
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

func TestTheDSNDecidesAboutPreparedStatements(t *testing.T) {
	t.Parallel()
	p := behindPooler(t, devpg.PoolerOptions{})
	for mode, dsn := range map[pgx.QueryExecMode]string{
		pgx.QueryExecModeExec:           p.pooler.DSN("postgres"),
		pgx.QueryExecModeSimpleProtocol: p.pooler.DSN("postgres") + "&default_query_exec_mode=simple_protocol",
		pgx.QueryExecModeCacheStatement: p.cluster.TCPDSN("postgres"),
	} {
		b := open(t, p.cluster.DSN("postgres"), func(o *Options) { o.DSN = dsn })
		conn, err := b.work.Acquire(t.Context())
		require.NoError(t, err)
		require.Equal(t, mode, conn.Conn().Config().DefaultQueryExecMode)
		conn.Release()
	}
}

// The pooler's clients are not cut off where none of them is in a transaction.
func TestARestartBehindAPoolerIsNoticed(t *testing.T) {
	t.Parallel()
	p := behindPooler(t, devpg.PoolerOptions{})
	b := p.open(t)
	b.create("orders")
	probe := func() error {
		_, err := b.Probe(t.Context(), []string{"orders"})
		return err
	}
	require.NoError(t, probe())
	before := b.Incarnation()
	require.NoError(t, probe())
	require.Equal(t, before, b.Incarnation())
	require.NoError(t, p.cluster.Restart(t.Context()))
	connections := b.work.Stat().NewConnsCount()
	require.Eventually(t, func() bool { return probe() == nil }, patience, 10*time.Millisecond)
	require.Greater(t, b.Incarnation(), before)
	require.Equal(t, connections, b.work.Stat().NewConnsCount(), "it was the connection of before")
}

func TestListenThroughATransactionPoolerIsFoundOut(t *testing.T) {
	t.Parallel()
	p := behindPooler(t, devpg.PoolerOptions{Connections: 1})
	b := p.open(t)
	b.create("orders")
	_, err := b.Subscribe(t.Context(), []string{"orders"})
	require.ErrorContains(t, err, "a pooler swallows notifications: let listen_dsn lead to the server itself")
	require.Zero(t, b.count("pg_listening_channels()"), "the session is somebody else's now")
}

func TestListenBesideAPooler(t *testing.T) {
	t.Parallel()
	p := behindPooler(t, devpg.PoolerOptions{Connections: 1})
	b := p.open(t, func(o *Options) { o.ListenDSN = p.cluster.TCPDSN("postgres") })
	b.create("orders")
	s := b.subscribe("orders")
	require.NoError(t, s.Verify(t.Context()))
	b.send("orders", `{}`)
	require.Equal(t, "orders", receive(t, s).Queue)
}

func TestListenThroughASessionPooler(t *testing.T) {
	t.Parallel()
	p := behindPooler(t, devpg.PoolerOptions{Settings: map[string]string{"pool_mode": "session"}})
	b := p.open(t)
	b.create("orders")
	s := b.subscribe("orders")
	require.NoError(t, s.Verify(t.Context()))
	b.send("orders", `{}`)
	require.Equal(t, "orders", receive(t, s).Queue)
}

// It would be proven by itself and never hear of a message.
func TestListenOnAnotherDatabaseIsFoundOut(t *testing.T) {
	t.Parallel()
	other := devpgtest.New(t)
	b := setup(t, ours, func(o *Options) { o.ListenDSN = other })
	s := b.subscribe("orders")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, s.Verify(ctx), "do both lead to the same database?")
}
