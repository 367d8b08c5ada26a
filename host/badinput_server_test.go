package host_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/internal/devpg"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
)

// forwarder is an address that leads to one server now and to another later, as
// after a failover.
type forwarder struct {
	listener net.Listener
	// rewrite changes what the server says; nil leaves it.
	rewrite func([]byte) []byte

	mu     sync.Mutex
	target string
	open   map[net.Conn]struct{}
	all    sync.WaitGroup
}

func newForwarder(t *testing.T, target string, rewrite func([]byte) []byte) *forwarder {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f := &forwarder{listener: listener, rewrite: rewrite, target: target, open: map[net.Conn]struct{}{}}
	f.all.Go(f.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		f.lead("")
		f.all.Wait()
	})
	return f
}

func (f *forwarder) accept() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		server, err := net.Dial("tcp", f.target)
		if err != nil {
			_ = client.Close()
			f.mu.Unlock()
			continue
		}
		f.open[client], f.open[server] = struct{}{}, struct{}{}
		f.mu.Unlock()
		f.all.Go(func() { f.pipe(server, client, nil) })
		f.all.Go(func() { f.pipe(client, server, f.rewrite) })
	}
}

func (f *forwarder) pipe(to, from net.Conn, rewrite func([]byte) []byte) {
	defer func() { _, _ = to.Close(), from.Close() }()
	if rewrite == nil {
		_, _ = io.Copy(to, from)
		return
	}
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(rewrite(buffer[:n])); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// lead breaks all connections and leads the next ones to another server.
func (f *forwarder) lead(target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = target
	for conn := range f.open {
		_ = conn.Close()
	}
	clear(f.open)
}

// dsn is the cluster's by way of the forwarder.
func (f *forwarder) dsn(t *testing.T, c *devpg.Cluster) string {
	t.Helper()
	u, err := url.Parse(c.TCPDSN("postgres"))
	require.NoError(t, err)
	u.Host = f.listener.Addr().String()
	return u.String()
}

func filledCluster(t *testing.T) *devpg.Cluster {
	t.Helper()
	cluster := devpgtest.Cluster(t, nil)
	conn, err := pgx.Connect(t.Context(), cluster.DSN("postgres"))
	require.NoError(t, err)
	require.NoError(t, fill(t.Context(), conn))
	require.NoError(t, conn.Close(context.Background()))
	return cluster
}

// refusedAtStart is what a host says that does not start on a database.
func refusedAtStart(t *testing.T, dsn string) string {
	t.Helper()
	program, err := testPlugin()
	require.NoError(t, err)
	cfg, diags := config.Parse("test.hcl", []byte(settings{}.file(dsn, program)))
	require.False(t, diags.HasErrors(), diags)
	_, err = host.New(t.Context(), host.Options{Config: cfg, ShimCommand: shimCommand(), Logger: hclog.NewNullLogger()})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "\n")
	return err.Error()
}

func (b *bundle) unhealthy(says string) {
	b.t.Helper()
	b.eventually("the health says: "+says, func() bool {
		return strings.Contains(strings.Join(b.Status(b.t.Context()).Health.Reasons, "\n"), says)
	})
}

func (b *bundle) healthyAgain() {
	b.t.Helper()
	b.eventually("the host is healthy again", func() bool { return b.Status(b.t.Context()).Health.Status == "Healthy" })
}

// A failover leads the host to a standby before that is the new primary.
func TestReadOnlyStandby(t *testing.T) {
	t.Parallel()
	primary := filledCluster(t)
	standby := devpgtest.Standby(t, primary)
	const refused = "the server is a read-only standby; connect to the primary"
	require.Contains(t, refusedAtStart(t, standby.DSN("postgres")), refused)

	f := newForwarder(t, primary.Addr(), nil)
	b := startOn(t, f.dsn(t, primary), settings{events: `
		listener { retry_interval = "50ms" }
		fallback_poller { polling_interval = "100ms" }`})
	b.send("a_queue", bodies(5, `{}`)...)
	b.results(5)
	var written string
	require.NoError(t, b.db.QueryRow(t.Context(), `SELECT pg_current_wal_flush_lsn()::text`).Scan(&written))
	other, err := pgxpool.New(t.Context(), standby.DSN("postgres"))
	require.NoError(t, err)
	t.Cleanup(other.Close)
	b.db.Close()
	b.db = other
	b.eventually("the standby has it all", func() bool {
		return b.count(`SELECT (pg_last_wal_replay_lsn() >= $1::pg_lsn)::int`, written) == 1
	})
	primary.Crash()
	f.lead(standby.Addr())
	b.unhealthy(refused)
	b.sql(`SELECT pg_promote()`)
	b.send("a_queue", bodies(5, `{}`)...)
	b.results(10)
	b.healthyAgain()
}

func TestDatabaseThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	cluster := filledCluster(t)
	b := startOn(t, cluster.DSN("postgres"), settings{events: `fallback_poller { polling_interval = "100ms" }`})
	b.send("a_queue", fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("log"), b.path("go")))
	b.eventually("a handler runs", func() bool { return len(b.runs("log")) == 1 })
	turn := func(to string) {
		b.sql(`ALTER SYSTEM SET default_transaction_read_only = ` + to)
		b.sql(`SELECT pg_reload_conf()`)
	}
	const says = "turn default_transaction_read_only off"
	// The server turns while the host works: nothing is claimed and nothing settled.
	_, err := b.db.Exec(t.Context(), `BEGIN; SELECT pgmq.send('a_queue', '{}') FROM generate_series(1, 5); COMMIT`)
	require.NoError(t, err)
	turn("on")
	b.touch("go")
	b.unhealthy(says)
	require.Contains(t, refusedAtStart(t, cluster.DSN("postgres")), says)
	turn("off")
	b.results(6)
	b.healthyAgain()
	require.Len(t, b.runs("log"), 1)
}

// The oldest server that there is to test with is not old enough, so one is
// made to say that it is.
func TestServerThatIsTooOld(t *testing.T) {
	t.Parallel()
	cluster := filledCluster(t)
	conn, err := pgx.Connect(t.Context(), cluster.DSN("postgres"))
	require.NoError(t, err)
	var version string
	require.NoError(t, conn.QueryRow(t.Context(), `SHOW server_version_num`).Scan(&version))
	require.NoError(t, conn.Close(context.Background()))
	old := "13" + version[2:]
	f := newForwarder(t, cluster.Addr(), func(said []byte) []byte {
		return bytes.ReplaceAll(said, []byte(version), []byte(old))
	})
	require.Contains(t, refusedAtStart(t, f.dsn(t, cluster)), "the server is PostgreSQL 13; stephost needs 14 or newer")
}
