// Package devpgtest gives each test a PostgreSQL database of its own.
//
// One throw-away cluster serves a test process. It is started by the first
// test that asks and stopped by Main; whatever happens to the process, the
// cluster does not outlive it. A database is copied from a template, which a
// function of the caller filled once per process:
//
//	func TestMain(m *testing.M) { devpgtest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		t.Parallel()
//		dsn := devpgtest.New(t, devpgtest.Template("pgmq", install))
//		...
//	}
//
// A missing PostgreSQL fails the test: one that skips itself proves nothing.
package devpgtest

import (
	"context"
	"testing"
	"time"

	"github.com/stephost/stephost/internal/devpg"
	"go.uber.org/goleak"
)

// timeout bounds each thing that this package waits for.
const timeout = 2 * time.Minute

// Main runs the tests, stops the cluster, fails if goroutines were left
// behind, and exits. It is the body of a TestMain.
func Main(m *testing.M, opts ...goleak.Option) {
	goleak.VerifyTestMain(stopAfter{m}, opts...)
}

// stopAfter runs the tests and then stops the process's cluster, so that the
// search for leaked goroutines finds it gone.
type stopAfter struct{ m *testing.M }

func (s stopAfter) Run() int {
	code := s.m.Run()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := process.stop(ctx); err != nil {
		println("devpgtest: stop the cluster:", err.Error())
		code = max(code, 1)
	}
	return code
}

// Cluster starts a cluster for this test alone, to crash and restart. It is
// stopped at the end of the test.
func Cluster(t testing.TB, settings map[string]string) *devpg.Cluster {
	t.Helper()
	return start(t, devpg.Options{Ephemeral: true, Settings: settings})
}
