// Package exampletest runs an example as a user does: the plugin is built, a
// whole host runs it on a database of the test's own.
package exampletest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/supervisor/shim"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

// patience bounds every wait; nothing depends on its length.
const patience = 60 * time.Second

// Main is an example's TestMain.
func Main(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Command {
		os.Exit(shim.Main(os.Args[2:]))
	}
	devpgtest.Main(m)
}

// Example is a running host with the example in it.
type Example struct {
	t    testing.TB
	host *host.Host
	db   *pgxpool.Pool
}

// Start builds the plugin of the current directory and runs a host with it.
// blocks are the plugin and namespace blocks, in which PLUGIN stands for the
// plugin's path; queues are created beside those of the namespaces.
func Start(t testing.TB, blocks string, queues ...string) *Example {
	t.Helper()
	return StartProgram(t, Build(t), blocks, queues...)
}

// Abs makes the path of a program absolute.
func Abs(t testing.TB, program string) string {
	t.Helper()
	path, err := filepath.Abs(program)
	require.NoError(t, err)
	return path
}

// StartProgram is Start with a plugin that needs no building. A relative path
// is taken from the current directory.
func StartProgram(t testing.TB, plugin, blocks string, queues ...string) *Example {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dsn := devpgtest.New(t, devpgtest.Template("examples", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := schema.Install(ctx, conn)
		return err
	}))
	cfg := parse(t, plugin, fmt.Sprintf("%s\nhost {\n admin {\n listen = \"127.0.0.1:0\"\n }\n}\nqueue \"pgmq\" {\n dsn = %q\n}", blocks, dsn))

	e := &Example{t: t}
	var err error
	e.db, err = pgxpool.New(ctx, dsn)
	require.NoError(t, err)
	t.Cleanup(e.db.Close)
	for _, ns := range cfg.Namespaces {
		queues = append(queues, ns.Queue, ns.DeadLetter)
	}
	for _, queue := range queues {
		_, err := e.db.Exec(ctx, `SELECT pgmq.create($1::text)`, queue)
		require.NoError(t, err)
	}
	e.host, err = host.New(ctx, options(cfg))
	require.NoError(t, err)
	e.run(ctx)
	return e
}

// Complaints starts the program once with the plugin block's configuration, and
// returns what it and the host find wrong with that: line and text of each,
// sorted.
func Complaints(t testing.TB, plugin, blocks string) []string {
	t.Helper()
	diags, err := host.CheckPlugins(t.Context(), options(parse(t, plugin, blocks)))
	require.NoError(t, err)
	var complaints []string
	for _, d := range diags {
		complaints = append(complaints, fmt.Sprintf("%d: %s", d.Subject.Start.Line, d.Detail))
	}
	slices.Sort(complaints)
	return complaints
}

// parse reads a configuration in which PLUGIN stands for the program's path.
func parse(t testing.TB, plugin, text string) *config.Config {
	t.Helper()
	text = strings.ReplaceAll(text, "PLUGIN", fmt.Sprintf("%q", Abs(t, plugin)))
	cfg, diags := config.Parse("example.hcl", []byte(text))
	require.False(t, diags.HasErrors(), "%v", diags)
	return cfg
}

func options(cfg *config.Config) host.Options {
	return host.Options{
		Config: cfg, Logger: hclog.NewNullLogger(), Version: "test",
		ShimCommand: []string{os.Args[0], shim.Command},
	}
}

func (e *Example) run(ctx context.Context) {
	runCtx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.host.Run(runCtx) }()
	e.t.Cleanup(func() {
		stop()
		require.NoError(e.t, <-done)
	})
	require.NoError(e.t, e.host.WaitReady(ctx))
}

// Send enqueues a message.
func (e *Example) Send(queue, body string) {
	e.t.Helper()
	_, err := e.db.Exec(e.t.Context(), `SELECT pgmq.send($1::text, $2::jsonb)`, queue, body)
	require.NoError(e.t, err)
}

// Rows waits until the query returns n rows of one column and returns them.
func (e *Example) Rows(n int, sql string) []string {
	e.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		rows, err := e.db.Query(e.t.Context(), sql)
		require.NoError(e.t, err)
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(e.t, err)
		if len(got) >= n {
			require.Len(e.t, got, n)
			return got
		}
		if time.Now().After(deadline) {
			e.t.Fatalf("%d of %d rows of %s", len(got), n, sql)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
