package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/internal/devpg"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

// Programs are the paths of what is measured.
type Programs struct {
	// Stephost is the host.
	Stephost string
	// Noop is the no-op plugin of the examples.
	Noop string
	// Self is this program: contenders that need a process of their own are
	// started from it (see package child).
	Self string
}

// Env is where scenarios run. It is safe for concurrent use.
type Env struct {
	Form Form
	// Rounds is how often contenders take turns.
	Rounds   int
	Programs Programs
	Postgres *devpg.Cluster
	// Dir is a directory for what scenarios write; it is removed afterwards.
	Dir string
	Log hclog.Logger

	databases atomic.Int64
}

// Settings are what the server has apart from PostgreSQL's defaults, beside what
// internal/devpg sets to make it private. The server keeps the time of each
// commit: the clock of a drain stops with the commit of the last settlement, for
// every contender, and nobody has to poll for it.
func Settings() map[string]string {
	return map[string]string{
		"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
		"track_commit_timestamp": "on",
	}
}

// template is a database with the queue schema.
const template = "bench_template"

// Options say how to make an Env.
type Options struct {
	Form     Form
	Rounds   int // 0: as the form has it
	Programs Programs
	// Server is added to the server's settings.
	Server map[string]string
	Log    hclog.Logger
}

// Start starts the server.
func Start(ctx context.Context, opts Options) (_ *Env, err error) {
	env := &Env{Form: opts.Form, Rounds: opts.Rounds, Programs: opts.Programs, Log: opts.Log}
	if env.Rounds == 0 {
		env.Rounds = Pick(opts.Form, 5, 3, 1)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, env.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if env.Dir, err = os.MkdirTemp("", "stephost-bench-"); err != nil {
		return env, fmt.Errorf("make a directory: %w", err)
	}
	settings := Settings()
	for name, value := range opts.Server {
		settings[name] = value
	}
	if env.Postgres, err = devpg.Start(ctx, devpg.Options{Ephemeral: true, Settings: settings}); err != nil {
		return env, fmt.Errorf("start a private PostgreSQL: %w", err)
	}
	if err = env.Exec(ctx, "CREATE DATABASE "+template); err != nil {
		return env, err
	}
	conn, err := env.Connect(ctx, env.Postgres.DSN(template))
	if err != nil {
		return env, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = schema.Install(ctx, conn)
	return env, err
}

// Stop ends the server and removes all files.
func (e *Env) Stop(ctx context.Context) error {
	var errs []error
	if e.Postgres != nil {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		errs = append(errs, e.Postgres.Stop(ctx))
	}
	return errors.Join(append(errs, os.RemoveAll(e.Dir))...)
}

// Connect opens a connection.
func (e *Env) Connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	return conn, nil
}

// Exec runs statements on the server's own database.
func (e *Env) Exec(ctx context.Context, statements ...string) error {
	conn, err := e.Connect(ctx, e.Postgres.DSN("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// Database is a fresh database with the queue schema.
type Database struct {
	// DSN goes by the unix socket, as superuser.
	DSN string
	// Conn belongs to whoever asked for the database.
	Conn *pgx.Conn

	env  *Env
	name string
}

// Database makes a database. Close drops it.
func (e *Env) Database(ctx context.Context) (*Database, error) {
	d := &Database{env: e, name: fmt.Sprintf("bench_%d", e.databases.Add(1))}
	if err := e.Exec(ctx, "CREATE DATABASE "+d.name+" TEMPLATE "+template); err != nil {
		return nil, err
	}
	d.DSN = e.Postgres.DSN(d.name)
	var err error
	if d.Conn, err = e.Connect(ctx, d.DSN); err != nil {
		return nil, errors.Join(err, e.Exec(ctx, "DROP DATABASE "+d.name))
	}
	return d, nil
}

// Exec runs statements in the database, one after the other.
func (d *Database) Exec(ctx context.Context, statements ...string) error {
	for _, sql := range statements {
		if _, err := d.Conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", firstLine(sql), err)
		}
	}
	return nil
}

// CreateQueues creates queues.
func (d *Database) CreateQueues(ctx context.Context, names ...string) error {
	if _, err := d.Conn.Exec(ctx, `SELECT pgmq.create(q) FROM unnest($1::text[]) q`, names); err != nil {
		return fmt.Errorf("create queues: %w", err)
	}
	return nil
}

// Count runs a query that gives one number.
func (d *Database) Count(ctx context.Context, sql string) (int, error) {
	var n int
	if err := d.Conn.QueryRow(ctx, sql).Scan(&n); err != nil {
		return 0, fmt.Errorf("%s: %w", firstLine(sql), err)
	}
	return n, nil
}

// Settle brings the database to rest before the clock starts: what was written
// is vacuumed, analyzed and on disk.
func (d *Database) Settle(ctx context.Context) error {
	return d.Exec(ctx, "VACUUM ANALYZE", "CHECKPOINT")
}

// Close drops the database.
func (d *Database) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return errors.Join(d.Conn.Close(ctx), d.env.Exec(ctx, "DROP DATABASE "+d.name+" WITH (FORCE)"))
}

func firstLine(sql string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(sql), "\n")
	return line
}
