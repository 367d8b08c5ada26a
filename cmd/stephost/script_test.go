package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stephost/stephost/internal/devpg"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){
		"stephost": main, "orders-plugin": ordersPlugin, "picky-plugin": pickyPlugin, "steps-plugin": stepsPlugin,
	})
}

// quickExit is for the environment of the programs under test: the race
// detector's runtime sleeps for a second before each exit.
const quickExit = "GORACE=atexit_sleep_ms=0"

// ordersPlugin is a plugin that takes every message; an amount below zero is a
// permanent failure.
func ordersPlugin() {
	type order struct {
		AmountCents int `json:"amount_cents"`
	}
	sdk.Main(sdk.Handle("validate", func(_ context.Context, in order) (order, error) {
		if in.AmountCents < 0 {
			return in, sdk.Permanent(errors.New("amount is negative"))
		}
		return in, nil
	}, sdk.Default()))
}

// pickyPlugin is a plugin that refuses every currency but one.
func pickyPlugin() {
	type configuration struct {
		Currency string `hcl:"currency"`
		Limit    int    `hcl:"limit,optional"`
	}
	sdk.MainWith(func(_ context.Context, c configuration) (*sdk.Plugin, error) {
		if c.Currency != "EUR" {
			return nil, sdk.FieldError("currency", fmt.Errorf("%s is not accepted here", c.Currency))
		}
		return sdk.New(sdk.Handle("charge", func(context.Context, struct{}) (any, error) { return nil, nil })), nil
	})
}

type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs testdata/*.txtar. Each script has a database of its own in
// $DSN, by TCP and with a password in $TCPDSN, empty at first, an address for the admin endpoint in $ADMIN, plugins
// in $PLUGIN and $PICKY, the path of stephost in $STEPHOST, and these commands beside testscript's:
//
//	exit CODE stephost ARGS...      run it and expect that exit code
//	until PATTERN stephost ARGS...  run it until its standard output matches
//	deadletter QUEUE DEAD REASON    move the first message of a queue as the host does
//	sql STATEMENT                   run it in the script's database
//	forget FILE                     delete the data that a private PostgreSQL kept, as FILE names it
func TestScripts(t *testing.T) {
	t.Parallel()
	cluster := devpgtest.Cluster(t, nil)
	scripts, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{
		Files:               scripts,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			name := strings.NewReplacer("-", "_", ".", "_").Replace(filepath.Base(env.WorkDir))
			if err := createDatabase(cluster, name); err != nil {
				return err
			}
			env.Vars = append(env.Vars, quickExit)
			if err := goEnv(env); err != nil {
				return err
			}
			env.Setenv("DSN", cluster.DSN(name))
			env.Setenv("TCPDSN", cluster.TCPDSN(name))
			for variable, program := range map[string]string{"PLUGIN": "orders-plugin", "PICKY": "picky-plugin", "STEPHOST": "stephost"} {
				path, err := exec.LookPath(program)
				if err != nil {
					return err
				}
				env.Setenv(variable, path)
			}
			admin, err := freeAddr()
			env.Setenv("ADMIN", admin)
			return err
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exit":       exitCode,
			"until":      until,
			"deadletter": deadLetter,
			"sql":        runSQL,
			"forget":     forget,
		},
	})
}

// goEnv lets scripts build: their home directory, where the go command keeps its
// caches, is another.
func goEnv(env *testscript.Env) error {
	variables := []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS"}
	out, err := exec.Command("go", append([]string{"env"}, variables...)...).Output()
	if err != nil {
		return err
	}
	for i, value := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		env.Setenv(variables[i], value)
	}
	return nil
}

func createDatabase(cluster *devpg.Cluster, name string) error {
	return execSQL(cluster.DSN("postgres"), "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
}

func execSQL(dsn, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

func runSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sql STATEMENT")
	}
	ts.Check(execSQL(ts.Getenv("DSN"), args[0]))
}

func freeAddr() (string, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND ARGS...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.Now().Add(time.Minute)
	for {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("standard output never matched %s (%v)", args[0], err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func forget(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: forget FILE")
	}
	found := regexp.MustCompile(`data is kept in (\S+)`).FindStringSubmatch(ts.ReadFile(args[0]))
	if found == nil {
		ts.Fatalf("%s does not say where data is kept", args[0])
	}
	ts.Check(os.RemoveAll(found[1]))
}

func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit CODE COMMAND ARGS...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := err.(interface{ ExitCode() int }); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func deadLetter(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: deadletter QUEUE DEAD REASON")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	broker, err := pgmq.Open(ctx, pgmq.Options{DSN: ts.Getenv("DSN")})
	ts.Check(err)
	defer broker.Close()
	claimed, err := broker.Claim(ctx, queues.ClaimRequest{Queue: args[0], Limit: 1, Lease: time.Minute})
	ts.Check(err)
	if len(claimed) != 1 {
		ts.Fatalf("claimed %d messages of %s, want 1", len(claimed), args[0])
	}
	d := claimed[0]
	record := d.Record.AddError(queues.ErrorEntry{At: d.ClaimedAt, Attempt: 1, Type: "CardError", Message: "card declined", Stack: "charge.go:12"})
	record.Failures = 1
	record.Origin = &queues.Origin{Queue: d.Queue, ID: d.ID, EnqueuedAt: d.EnqueuedAt}
	record.Dead = &queues.Dead{Reason: queues.DeadReason(args[2]), Error: "card declined", Namespace: "orders", Plugin: "orders", Step: "charge", Deliveries: d.Epoch}
	result := broker.Settle(ctx, args[0], []queues.Settlement{{Lease: d.Lease, Action: queues.DeadLetter{Queue: args[1], Record: record}}})
	ts.Check(result[0].Err)
	if result[0].Status != queues.Settled {
		ts.Fatalf("settlement is %v", result[0].Status)
	}
}
