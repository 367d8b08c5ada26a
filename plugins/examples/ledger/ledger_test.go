package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/sdktest"
	"github.com/stephost/stephost/plugins/examples/internal/exampletest"
)

// asPlugin is the argument that makes this test binary the plugin, with a
// middleware that kills it.
const asPlugin = "as-plugin"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == asPlugin {
		sdk.MainWith(func(ctx context.Context, cfg Config) (*sdk.Plugin, error) {
			l, err := open(ctx, cfg)
			if err != nil {
				return nil, err
			}
			return l.plugin(sdk.Use(killedOnce(os.Args[2]))), nil
		})
	}
	exampletest.Main(m)
}

// killedOnce kills the process when a handler has returned, and with it whatever
// it did to its database has been committed, but before the host knows. The
// file in dir lets that happen once; another one has a line for each execution.
func killedOnce(dir string) func(sdk.Next) sdk.Next {
	return func(next sdk.Next) sdk.Next {
		return func(ctx context.Context, in []byte) ([]byte, error) {
			f, err := os.OpenFile(filepath.Join(dir, "runs"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				return nil, err
			}
			if _, err = fmt.Fprintln(f, sdk.StepInfo(ctx).IdempotencyKey); err != nil {
				return nil, err
			}
			if err := f.Close(); err != nil {
				return nil, err
			}
			out, err := next(ctx, in)
			if os.Remove(filepath.Join(dir, "kill")) == nil {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			return out, err
		}
	}
}

const blocks = `
plugin "ledger" {
  command = PLUGIN
  %s
  config {
    dsn = %q
  }
  restart {
    backoff_initial = "1ms"
  }
}
namespace "ledger" {
  plugin       = "ledger"
  result_queue = "results"
}
`

// accounts is the plugin's own database.
type accounts struct {
	dsn string
	db  *pgx.Conn
}

func newAccounts(t *testing.T) accounts {
	t.Helper()
	dsn := devpgtest.New(t)
	db, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	return accounts{dsn, db}
}

func (a accounts) number(t *testing.T, sql string) (n int64) {
	t.Helper()
	require.NoError(t, a.db.QueryRow(t.Context(), sql).Scan(&n))
	return n
}

// TestEffectHappensOnceThoughTheHandlerRunsTwice kills the plugin between its
// effect and the outcome.
func TestEffectHappensOnceThoughTheHandlerRunsTwice(t *testing.T) {
	t.Parallel()
	own, dir := newAccounts(t), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kill"), nil, 0o600))
	e := exampletest.StartProgram(t, os.Args[0], fmt.Sprintf(blocks, fmt.Sprintf("args = [%q, %q]", asPlugin, dir), own.dsn), "results")
	e.Send("ledger_queue", `{"account": "ada", "amount_cents": 1250}`)

	result := e.Rows(1, `SELECT message->>'result' FROM pgmq.q_results WHERE (message->>'success')::bool`)
	require.JSONEq(t, `{"account": "ada", "balance_cents": 1250}`, result[0], "the result of the first execution")
	key := e.Rows(1, `SELECT message->>'idempotency_key' FROM pgmq.q_results`)[0]
	runs, err := os.ReadFile(filepath.Join(dir, "runs"))
	require.NoError(t, err)
	require.Equal(t, key+"\n"+key+"\n", string(runs), "the handler ran twice, with the same key")
	require.Equal(t, int64(1250), own.number(t, `SELECT balance_cents FROM accounts WHERE name = 'ada'`))
	require.Equal(t, int64(1), own.number(t, `SELECT count(*) FROM entries`))

	// The next message is another one, also when it says the same.
	e.Send("ledger_queue", `{"account": "ada", "amount_cents": 1250}`)
	e.Rows(2, `SELECT message->>'result' FROM pgmq.q_results`)
	require.Equal(t, int64(2500), own.number(t, `SELECT balance_cents FROM accounts WHERE name = 'ada'`))
}

// TestLedger runs the example as it is.
func TestLedger(t *testing.T) {
	t.Parallel()
	own := newAccounts(t)
	e := exampletest.Start(t, fmt.Sprintf(blocks, "", own.dsn), "results")
	const n = 20
	for range n {
		e.Send("ledger_queue", `{"account": "bob", "amount_cents": -5}`)
	}
	e.Send("ledger_queue", `{"amount_cents": 7}`)
	e.Rows(n, `SELECT message->>'result' FROM pgmq.q_results WHERE (message->>'success')::bool`)
	require.Equal(t, int64(-5*n), own.number(t, `SELECT balance_cents FROM accounts WHERE name = 'bob'`))
	dead := e.Rows(1, `SELECT headers->'stephost'->'dead'->>'reason' || ': ' || (headers->'stephost'->'dead'->>'error') FROM pgmq.q_ledger_dead`)
	require.Equal(t, []string{"permanent: the entry has no account"}, dead)
}

// TestExecutionsAtTheSameTimeBookOnce: after a lost lease two hosts may run a
// message at once.
func TestExecutionsAtTheSameTimeBookOnce(t *testing.T) {
	t.Parallel()
	own := newAccounts(t)
	h := sdktest.StartWith(t, setup, sdktest.Config(fmt.Sprintf("dsn = %q", own.dsn)))
	var (
		executions sync.WaitGroup
		booked     [8]Booked
		errs       [8]error
	)
	for i := range booked {
		executions.Go(func() {
			booked[i], errs[i] = sdktest.Call[Booked](h, "book", Entry{Account: "eve", AmountCents: 3}, sdktest.Info(sdk.Info{IdempotencyKey: "the same"}))
		})
	}
	executions.Wait()
	for i := range booked {
		require.NoError(t, errs[i])
		require.Equal(t, Booked{Account: "eve", BalanceCents: 3}, booked[i])
	}
	require.Equal(t, int64(3), own.number(t, `SELECT balance_cents FROM accounts`))
}

func TestWrongDatabaseIsShownAtItsLine(t *testing.T) {
	t.Parallel()
	refused := sdktest.ConfigError(t, setup, sdktest.Config(`dsn = "postgres://me:sesame@localhost:bad/ledger"`))
	require.Contains(t, refused, "not the DSN of a PostgreSQL database")
	require.NotContains(t, refused, "pgx")
}

func TestConforms(t *testing.T) {
	t.Parallel()
	own := newAccounts(t)
	exampletest.Conforms(t, supervisor.Spec{
		Command: exampletest.Build(t),
		Configure: func(context.Context, *pluginv1.DescribeResponse) ([]byte, error) {
			return fmt.Appendf(nil, `{"dsn": %q}`, own.dsn), nil
		},
	})
}
