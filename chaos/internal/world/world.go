// Package world is what a fault happens to: a PostgreSQL server that keeps what
// it has committed, hosts from the built binary with plugins from the built
// handler, and a load on them.
//
// Everything is real and in processes of its own. A world ends with its driver:
// the hosts and the server are ended when it stops, also when it is killed.
package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/chaos/internal/load"
	"github.com/stephost/stephost/internal/devpg"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

// database is the one of the queues.
const database = "postgres"

// World is a server, its hosts and their load.
type World struct {
	Options
	Postgres *devpg.Cluster
	// DB reaches the server directly, whatever the hosts' route is.
	DB    *pgxpool.Pool
	Hosts []*Host
	// Load is nil until it is started.
	Load *load.Producer
	// Journal is the file of the executions.
	Journal string

	mu     sync.Mutex
	atStop []func()
	over   time.Time
}

// New starts the server and the hosts, and waits until all of them serve.
func New(ctx context.Context, opts Options) (_ *World, err error) {
	w := &World{Options: opts, Journal: filepath.Join(opts.Dir, "journal")}
	ctx, cancel := context.WithTimeout(ctx, opts.Patience)
	defer cancel()
	defer func() {
		if err != nil {
			w.Stop()
		}
	}()
	if err := w.startPostgres(ctx); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	for i := range opts.Hosts {
		if err := w.addHost(ctx, i); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// startPostgres starts a server that is as durable as one is by default. The
// time of every commit is kept, for the audit.
func (w *World) startPostgres(ctx context.Context) (err error) {
	settings := map[string]string{
		"fsync": "on", "full_page_writes": "on", "track_commit_timestamp": "on", "log_line_prefix": "%m [%p] %a ",
	}
	for name, value := range w.Server {
		settings[name] = value
	}
	if w.Postgres, err = devpg.Start(ctx, devpg.Options{Ephemeral: true, Settings: settings}); err != nil {
		return err
	}
	if err = w.prepare(ctx); err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(w.Postgres.DSN(database))
	if err != nil {
		return err
	}
	config.MaxConns = 8
	config.ConnConfig.RuntimeParams["application_name"] = "chaos"
	w.DB, err = pgxpool.NewWithConfig(ctx, config)
	return err
}

// prepare makes the queues and the ledger.
func (w *World) prepare(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, w.Postgres.DSN(database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := schema.Install(ctx, conn); err != nil {
		return err
	}
	if _, err = conn.Exec(ctx, `SELECT pgmq.create(q) FROM unnest($1::text[]) q`, ledger.Queues()); err != nil {
		return fmt.Errorf("make the queues: %w", err)
	}
	if _, err := conn.Exec(ctx, `SELECT pgmq.enable_notify_insert($1)`, ledger.Queue); err != nil {
		return fmt.Errorf("enable notifications: %w", err)
	}
	return ledger.Create(ctx, conn)
}

func (w *World) addHost(ctx context.Context, index int) error {
	route := Route{DSN: w.DSN()}
	if w.Via != nil {
		var err error
		if route, err = w.Via(ctx, w, index); err != nil {
			return fmt.Errorf("lay the route of host %d: %w", index, err)
		}
	}
	h, err := newHost(w, index, route)
	if err != nil {
		return fmt.Errorf("configure host %d: %w", index, err)
	}
	w.Hosts = append(w.Hosts, h)
	return h.Start(ctx)
}

// DSN is the direct way to the database, by TCP.
func (w *World) DSN() string { return w.Postgres.TCPDSN(database) }

// StartLoad begins to send. The load has a way of its own to the database, the
// unix socket.
func (w *World) StartLoad() {
	w.Load = load.Start(w.Postgres.DSN(database), w.Rate, w.Mix)
}

// AtStop has f called when the world stops, after the hosts and before the
// server, the last one first.
func (w *World) AtStop(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.atStop = append(w.atStop, f)
}

// Over says that the fault is over now, while its injection goes on to look at
// what it did. The recovery counts from the last call, or from the end of the
// injection.
func (w *World) Over() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = time.Now()
}

// OverAt is when the fault was over; zero: it was not said.
func (w *World) OverAt() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

// Backlog counts the messages that are in the queue.
func (w *World) Backlog(ctx context.Context) (n int, err error) {
	err = w.DB.QueryRow(ctx, `SELECT count(*) FROM pgmq.q_`+ledger.Queue).Scan(&n)
	return n, err
}

// StopHosts drains the hosts that run, and kills what has not ended after the
// form's patience.
func (w *World) StopHosts(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.Patience)
	defer cancel()
	errs := make([]error, len(w.Hosts))
	var all sync.WaitGroup
	for i, h := range w.Hosts {
		if h.PID() == 0 {
			continue
		}
		all.Go(func() { errs[i] = h.Terminate(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Stop ends everything that still runs, at once.
func (w *World) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if w.Load != nil {
		w.Load.Stop()
	}
	for _, h := range w.Hosts {
		if h.PID() != 0 {
			// A stopped process takes no other signal.
			_ = h.Signal(syscall.SIGKILL)
			_, _ = h.Wait(ctx)
		}
	}
	w.mu.Lock()
	hooks := w.atStop
	w.atStop = nil
	w.mu.Unlock()
	for i := len(hooks) - 1; i >= 0; i-- {
		hooks[i]()
	}
	if w.DB != nil {
		w.DB.Close()
	}
	if w.Postgres != nil {
		_ = os.WriteFile(filepath.Join(w.Dir, "postgres.log"), []byte(w.Postgres.LogTail(2000)), 0o600)
		_ = w.Postgres.Stop(ctx)
	}
}
