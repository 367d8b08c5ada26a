package host_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/supervisor/shim"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/internal/syncbuf"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

// patience bounds every wait of these tests; nothing depends on its length.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Command {
		os.Exit(shim.Main(os.Args[2:]))
	}
	devpgtest.Main(m)
}

// testPlugin builds the test plugin once per process.
var testPlugin = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // a cache for tests
	dir, err := os.MkdirTemp("", "stephost-testplugin")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "testplugin")
	out, err := exec.Command("go", "build", "-o", path, "./internal/testplugin").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the test plugin: %w\n%s", err, out)
	}
	return path, nil
})

func fill(ctx context.Context, conn *pgx.Conn) error {
	if _, err := schema.Install(ctx, conn); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, `SELECT pgmq.create(q) FROM unnest(ARRAY['a_queue','a_dead','b_queue','b_dead','results']) q`)
	return err
}

func newDatabase(t *testing.T) string {
	t.Helper()
	return devpgtest.New(t, devpgtest.Template("host", fill))
}

// shimCommand is this test binary. Under the race detector it would take a
// second to end.
func shimCommand() []string {
	return []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", os.Args[0], shim.Command}
}

// bundle is a running host with a database of its own.
type bundle struct {
	*host.Host
	t    *testing.T
	dsn  string
	dir  string
	db   *pgxpool.Pool
	logs *syncbuf.Buffer
	src  atomic.Pointer[string] // the configuration file, as it is now

	stop context.CancelFunc
	done chan error
}

// settings are the parts of a test's configuration file.
type settings struct {
	host, queue, events, plugin, a, b string
	more                              string // further blocks
	allowAttach                       bool
}

func (s settings) file(dsn, plugin string) string {
	return fmt.Sprintf(`
host {
  admin { listen = "127.0.0.1:0" }
  %s
}
queue "pgmq" {
  dsn = %q
  %s
}
event_system {
  %s
}
plugin "test" {
  command = %q
  %s
}
namespace "a" {
  plugin       = "test"
  result_queue = "results"
  %s
}
namespace "b" {
  plugin = "test"
  %s
}
%s
`, s.host, dsn, s.queue, s.events, plugin, s.plugin, s.a, s.b, s.more)
}

// start runs a host and waits until it is ready.
func start(t *testing.T, s settings) *bundle {
	t.Helper()
	return startOn(t, newDatabase(t), s)
}

func startOn(t *testing.T, dsn string, s settings) *bundle {
	t.Helper()
	b := build(t, dsn, s)
	b.run()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.WaitReady(ctx); err != nil {
		t.Fatalf("the host did not become ready: %v\n%s", err, b.logs)
	}
	return b
}

// build makes a host that does not run yet.
func build(t *testing.T, dsn string, s settings) *bundle {
	t.Helper()
	plugin, err := testPlugin()
	require.NoError(t, err)
	b := &bundle{t: t, dsn: dsn, dir: t.TempDir(), logs: &syncbuf.Buffer{}, done: make(chan error, 1)}
	b.write(s.file(dsn, plugin))
	cfg, diags := b.load()
	if diags.HasErrors() {
		var text strings.Builder
		require.NoError(t, config.Print(&text, diags, cfg.Files))
		t.Fatal(text.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b.Host, err = host.New(ctx, host.Options{
		Config: cfg, Version: "test", ShimCommand: shimCommand(),
		Logger: hclog.New(&hclog.LoggerOptions{Output: b.logs, Level: hclog.Debug}), Load: b.load,
		AllowAttach: s.allowAttach,
	})
	require.NoError(t, err)
	b.db, err = pgxpool.New(ctx, dsn)
	require.NoError(t, err)
	t.Cleanup(b.db.Close)
	return b
}

// write changes the configuration file; load reads it.
func (b *bundle) write(src string) { b.src.Store(&src) }

func (b *bundle) load() (*config.Config, hcl.Diagnostics) {
	return config.Parse("test.hcl", []byte(*b.src.Load()))
}

// run runs the host until the end of the test or until drained is called.
func (b *bundle) run() {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	go func() { b.done <- b.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		select {
		case <-b.done:
		case <-time.After(patience):
			b.t.Errorf("the host did not stop")
		}
		if b.t.Failed() {
			b.t.Log(b.logs.String())
		}
	})
}

// drained stops the host as SIGTERM does and waits for its end.
func (b *bundle) drained() {
	b.t.Helper()
	b.stop()
	select {
	case err := <-b.done:
		b.done <- nil // for the clean-up
		require.NoError(b.t, err)
	case <-time.After(patience):
		b.t.Fatal("the host did not drain")
	}
}

// path is a file of the test's own.
func (b *bundle) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bundle) touch(name string) {
	b.t.Helper()
	require.NoError(b.t, os.WriteFile(b.path(name), nil, 0o600))
}

// runs are the processes that executed handlers, one for each execution.
func (b *bundle) runs(name string) []int {
	b.t.Helper()
	data, err := os.ReadFile(b.path(name))
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(b.t, err)
	var pids []int
	for line := range strings.Lines(string(data)) {
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		require.NoError(b.t, err)
		pids = append(pids, pid)
	}
	return pids
}

// send enqueues as any client of pgmq does.
func (b *bundle) send(queue string, bodies ...string) {
	b.t.Helper()
	b.sql(`SELECT pgmq.send_batch($1::text, $2::jsonb[])`, queue, bodies)
}

func (b *bundle) sql(sql string, args ...any) {
	b.t.Helper()
	_, err := b.db.Exec(b.t.Context(), sql, args...)
	require.NoError(b.t, err)
}

func (b *bundle) count(sql string, args ...any) int {
	b.t.Helper()
	var n int
	require.NoError(b.t, b.db.QueryRow(b.t.Context(), sql, args...).Scan(&n))
	return n
}

// eventually waits for something to become true.
func (b *bundle) eventually(what string, check func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for !check() {
		if time.Now().After(deadline) {
			b.t.Fatalf("it did not happen: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// results waits until there are n results, and tells that there are no more.
func (b *bundle) results(n int) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("%d results", n), func() bool { return b.count(`SELECT count(*) FROM pgmq.q_results`) >= n })
	require.Equal(b.t, n, b.count(`SELECT count(*) FROM pgmq.q_results`))
	require.Equal(b.t, n, b.count(`SELECT count(DISTINCT (message->>'queue', message->>'message_id')) FROM pgmq.q_results`))
}

// quiet disables a queue's notifications, as a lossy trigger does.
func (b *bundle) quiet(queue string) { b.sql(`ALTER TABLE pgmq.q_` + queue + ` DISABLE TRIGGER USER`) }

func bodies(n int, body string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = body
	}
	return list
}
