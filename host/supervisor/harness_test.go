package supervisor_test

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/host/supervisor/shim"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// bench is a plugin under test with what it logs.
type bench struct {
	*supervisor.Plugin
	log *logBuffer
}

// spec runs the test plugin in a mode.
func spec(t testing.TB, mode string) supervisor.Spec {
	return supervisor.Spec{
		Name:    "orders",
		Command: testBinary(t),
		Env:     map[string]string{modeVariable: mode},
		// A failed start should not be repeated behind a test's back.
		Restart: supervisor.Restart{BackoffInitial: time.Hour, BackoffMax: time.Hour},
	}
}

func deps(t testing.TB, log *logBuffer) supervisor.Deps {
	return supervisor.Deps{
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: log, JSONFormat: true}),
		Shim:   shimCommand(t),
	}
}

// shimCommand is this test binary. Under the race detector it, and the test
// plugin, would take a second to end.
func shimCommand(t testing.TB) []string {
	return []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", testBinary(t), shim.Command}
}

func start(t testing.TB, s supervisor.Spec) *bench {
	t.Helper()
	log := &logBuffer{}
	return startWith(t, s, deps(t, log), log)
}

func startWith(t testing.TB, s supervisor.Spec, d supervisor.Deps, log *logBuffer) *bench {
	t.Helper()
	p, err := supervisor.Start(s, d)
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, p) })
	return &bench{Plugin: p, log: log}
}

func stop(t testing.TB, p *supervisor.Plugin) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, p.Stop(ctx))
	require.Equal(t, supervisor.StateStopped, p.Status().State)
}

func startReady(t testing.TB, s supervisor.Spec) *bench {
	t.Helper()
	b := start(t, s)
	b.awaitReady(t)
	return b
}

func (b *bench) awaitReady(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, b.WaitReady(ctx))
}

// awaitFailure returns why the first start failed.
func (b *bench) awaitFailure(t testing.TB) string {
	t.Helper()
	b.awaitStatus(t, func(s supervisor.Status) bool { return s.Instances[0].LastError != "" })
	return b.Status().Instances[0].LastError
}

// awaitStatus waits for a status.
func (b *bench) awaitStatus(t testing.TB, want func(supervisor.Status) bool) supervisor.Status {
	t.Helper()
	timeout := time.After(patience)
	for {
		changed := b.State().Changed
		status := b.Status()
		if want(status) {
			return status
		}
		select {
		case <-changed:
		case <-timeout:
			require.FailNow(t, "status has not come", "%+v\n%s", b.Status(), b.log)
		}
	}
}

// run dispatches one step and returns what comes back.
func (b *bench) run(t testing.TB, step, input string) answer {
	t.Helper()
	s := newSink()
	b.Dispatch([]*pluginv1.Step{newStep(step, input)}, s)
	return s.next(t)
}

func (b *bench) echoes(t testing.TB) {
	t.Helper()
	require.Equal(t, `"x"`, b.run(t, "echo", `"x"`).output())
}

var lastID atomic.Uint64

func newStep(step, input string) *pluginv1.Step {
	return &pluginv1.Step{Id: lastID.Add(1), Step: step, Input: []byte(input)}
}

// answer is what came back for one step.
type answer struct {
	id       uint64
	result   *pluginv1.Result
	returned bool
	lost     error
}

func (a answer) output() string { return string(a.result.GetSuccess().GetOutput()) }

// sink turns batches into single answers.
type sink struct {
	answers chan answer
	beats   chan *pluginv1.Heartbeat
}

var _ processor.Sink = (*sink)(nil)

func newSink() *sink {
	return &sink{answers: make(chan answer, 100_000), beats: make(chan *pluginv1.Heartbeat, 1000)}
}

func (s *sink) Results(results []*pluginv1.Result) {
	for _, r := range results {
		s.answers <- answer{id: r.GetId(), result: r}
	}
}

func (s *sink) Heartbeats(beats []*pluginv1.Heartbeat) {
	for _, b := range beats {
		s.beats <- b
	}
}

func (s *sink) Returned(ids []uint64) {
	for _, id := range ids {
		s.answers <- answer{id: id, returned: true}
	}
}

func (s *sink) Lost(ids []uint64, cause error) {
	for _, id := range ids {
		s.answers <- answer{id: id, lost: cause}
	}
}

func (s *sink) next(t testing.TB) answer {
	t.Helper()
	select {
	case a := <-s.answers:
		return a
	case <-time.After(patience):
		require.FailNow(t, "no answer")
		return answer{}
	}
}

func (s *sink) beat(t testing.TB) {
	t.Helper()
	select {
	case <-s.beats:
	case <-time.After(patience):
		require.FailNow(t, "no heartbeat")
	}
}

// logBuffer is a log to look into.
type logBuffer struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{}
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// await waits until the log has a text and returns its line.
func (l *logBuffer) await(t testing.TB, text string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		l.mu.Lock()
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		all := l.buf.Bytes()
		for line := range bytes.Lines(all) {
			if bytes.Contains(line, []byte(text)) {
				l.mu.Unlock()
				return string(line)
			}
		}
		l.mu.Unlock()
		select {
		case <-changed:
		case <-timeout:
			require.FailNow(t, "log has no line with "+text, l.String())
		}
	}
}

// awaitGone waits until no process has the id.
func awaitGone(t testing.TB, pid int) {
	t.Helper()
	require.NotZero(t, pid)
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH }, patience, 5*time.Millisecond,
		"process %d is still there", pid)
}
