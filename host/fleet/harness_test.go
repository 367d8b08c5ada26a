package fleet_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/fleet"
	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/host/supervisor/shim"
	"github.com/stephost/stephost/internal/syncbuf"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// patience bounds every wait of these tests; nothing depends on its length.
const patience = 30 * time.Second

// bundle is a fleet with a table in place of the registry.
type bundle struct {
	*fleet.Fleet
	t    *testing.T
	logs syncbuf.Buffer

	mu       sync.Mutex
	table    map[string]processor.Executor
	binds    int
	recalled []processor.Executor
}

func setup(t *testing.T, specs ...fleet.Spec) *bundle {
	t.Helper()
	b := &bundle{t: t}
	self, err := os.Executable()
	require.NoError(t, err)
	b.Fleet = fleet.New(fleet.Options{
		Deps: supervisor.Deps{
			Logger: hclog.New(&hclog.LoggerOptions{Output: &b.logs}),
			Shim:   []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", self, shim.Command},
		},
		Bind:   b.bind,
		Recall: b.recall,
	})
	t.Cleanup(func() {
		b.stop()
		if t.Failed() {
			t.Log(b.logs.String())
		}
	})
	require.NoError(t, b.Start(specs))
	for _, g := range b.Current() {
		require.NoError(t, g.Plugin.WaitReady(b.ctx()))
	}
	return b
}

func (b *bundle) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	b.t.Cleanup(cancel)
	return ctx
}

func (b *bundle) stop() { require.NoError(b.t, b.Stop(b.ctx())) }

func (b *bundle) bind(current map[string]processor.Executor) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.table = current
	b.binds++
	return nil
}

// recall cancels as the processor does.
func (b *bundle) recall(exec processor.Executor) {
	b.mu.Lock()
	b.recalled = append(b.recalled, exec)
	b.mu.Unlock()
	var ids []uint64
	for id := range lastID.Load() {
		ids = append(ids, id+1)
	}
	exec.Cancel(ids, pluginv1.CancelReason_CANCEL_REASON_DRAINING)
}

// spec is a plugin of that version.
func spec(t *testing.T, name, version string, changes ...func(*fleet.Spec)) fleet.Spec {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	s := fleet.Spec{
		Spec: supervisor.Spec{
			Name: name, Command: self,
			Env: map[string]string{versionVariable: version, "GORACE": "atexit_sleep_ms=0"},
			// A start that fails is not repeated behind a test's back.
			Restart: supervisor.Restart{BackoffInitial: time.Hour, BackoffMax: time.Hour},
		},
		Drain: patience,
	}
	for _, change := range changes {
		change(&s)
	}
	return s
}

// exclusive has old and new take turns on a lock that only one of them can
// have.
func exclusive(lock string) func(*fleet.Spec) {
	return func(s *fleet.Spec) {
		s.Swap = supervisor.SwapStopFirst
		s.Env["LOCK"] = lock
	}
}

// executor is what the namespace of a plugin is bound to.
func (b *bundle) executor(name string) processor.Executor {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.table[name]
}

// version asks the plugin that is bound, by a step.
func (b *bundle) version(name string) string {
	b.t.Helper()
	s := b.send(b.executor(name), "echo", "{}")
	return string(s.result(b.t).GetSuccess().GetOutput())
}

// only waits until a plugin has no other generations.
func (b *bundle) only(name string, number int) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		n := 0
		for _, g := range b.Generations() {
			if g.Name == name {
				n++
			}
		}
		g, ok := b.Lookup(name)
		return n == 1 && ok && g.Number == number
	}, patience, 2*time.Millisecond)
}

var lastID atomic.Uint64 //nolint:gochecknoglobals // ids are unique

// sent is one step on its way.
type sent struct {
	results  chan *pluginv1.Result
	returned chan struct{}
	lost     chan error
}

var _ processor.Sink = (*sent)(nil)

func (b *bundle) send(exec processor.Executor, step, input string) *sent {
	s := &sent{results: make(chan *pluginv1.Result, 1), returned: make(chan struct{}, 1), lost: make(chan error, 1)}
	exec.Dispatch([]*pluginv1.Step{{Id: lastID.Add(1), Step: step, Input: []byte(input)}}, s)
	return s
}

func (s *sent) Results(results []*pluginv1.Result) { s.results <- results[0] }
func (s *sent) Heartbeats([]*pluginv1.Heartbeat)   {}
func (s *sent) Returned([]uint64)                  { s.returned <- struct{}{} }
func (s *sent) Lost(_ []uint64, cause error)       { s.lost <- cause }

func (s *sent) result(t *testing.T) *pluginv1.Result {
	t.Helper()
	select {
	case r := <-s.results:
		return r
	case <-s.returned:
		require.FailNow(t, "the step was returned")
	case err := <-s.lost:
		require.FailNow(t, "the step was lost", "%v", err)
	case <-time.After(patience):
		require.FailNow(t, "no answer")
	}
	return nil
}

// hold starts a step that runs until it is let go.
func (b *bundle) hold(name string) (held *sent, letGo func()) {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "go")
	exec := b.executor(name)
	held = b.send(exec, "hold", `"`+file+`"`)
	// In flight alone would do as little as waiting to be sent, which a drain returns.
	require.Eventually(b.t, func() bool { return exists(file + ".runs") }, patience, time.Millisecond)
	return held, func() { require.NoError(b.t, os.WriteFile(file, nil, 0o600)) }
}
