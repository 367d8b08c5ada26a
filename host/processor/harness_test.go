package processor_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

func TestMain(m *testing.M) { devpgtest.Main(m) }

// patience bounds every wait of these tests; nothing depends on its length.
const patience = 30 * time.Second

// scripted is a plugin without a process: it lets a test hold steps, answer
// them when it likes, and be not ready.
type scripted struct {
	handle  func(ctx context.Context, s *pluginv1.Step) *pluginv1.Result
	handler string // the name of the default one

	mu      sync.Mutex
	ready   bool
	changed chan struct{}
	running map[uint64]context.CancelCauseFunc
	work    sync.WaitGroup
	// probation is held by the group that has its turn; refused is why there is
	// none.
	probation sync.Mutex
	refused   error

	abandoned chan abandoned
	// died is why a step is lost whose handler returns nil.
	died func(*pluginv1.Step) error
}

func killed(*pluginv1.Step) error { return errors.New("the plugin was killed") }

func newScripted(handle func(context.Context, *pluginv1.Step) *pluginv1.Result) *scripted {
	return &scripted{handle: handle, handler: "work", ready: true, changed: make(chan struct{}), running: map[uint64]context.CancelCauseFunc{}, abandoned: make(chan abandoned, 100), died: killed}
}

func (x *scripted) State() processor.ExecutorState {
	x.mu.Lock()
	defer x.mu.Unlock()
	return processor.ExecutorState{
		Ready: x.ready, Changed: x.changed, Default: x.handler, Reason: "the test says so",
		Steps: map[string]struct{}{x.handler: {}},
	}
}

func (x *scripted) setReady(ready bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ready = ready
	close(x.changed)
	x.changed = make(chan struct{})
}

func (x *scripted) Dispatch(steps []*pluginv1.Step, sink processor.Sink) {
	for _, s := range steps {
		ctx, cancel := context.WithCancelCause(context.Background())
		x.mu.Lock()
		x.running[s.GetId()] = cancel
		x.mu.Unlock()
		x.work.Go(func() {
			defer cancel(nil)
			res := x.handle(ctx, s)
			x.mu.Lock()
			delete(x.running, s.GetId())
			x.mu.Unlock()
			if res == nil {
				sink.Lost([]uint64{s.GetId()}, x.died(s))
				return
			}
			res.Id = s.GetId()
			sink.Results([]*pluginv1.Result{res})
		})
	}
}

func (x *scripted) cancelAll() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, cancel := range x.running {
		cancel(nil)
	}
}

// Apart runs each group through the handler like any other steps, one group at a
// time.
func (x *scripted) Apart(s processor.Suspects, _ bool) {
	x.mu.Lock()
	refused := x.refused
	x.mu.Unlock()
	if refused != nil {
		s.Refused(refused)
		return
	}
	x.work.Go(func() {
		x.probation.Lock()
		defer x.probation.Unlock()
		steps := s.Turn(0)
		group := &awaited{Sink: s}
		group.left.Add(len(steps))
		x.Dispatch(steps, group)
		group.left.Wait()
	})
}

func (x *scripted) refuse(why error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.refused = why
}

// awaited waits for the outcomes of its steps.
type awaited struct {
	processor.Sink
	left sync.WaitGroup
}

func (a *awaited) Results(results []*pluginv1.Result) {
	a.Sink.Results(results)
	a.left.Add(-len(results))
}

func (a *awaited) Lost(ids []uint64, cause error) {
	a.Sink.Lost(ids, cause)
	a.left.Add(-len(ids))
}

func (x *scripted) Cancel(ids []uint64, reason pluginv1.CancelReason) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range ids {
		if cancel, ok := x.running[id]; ok {
			cancel(fmt.Errorf("%v", reason))
		}
	}
}

func (x *scripted) Abandon(ids []uint64, cause error) {
	for _, id := range ids {
		x.abandoned <- abandoned{id: id, cause: cause}
	}
}

// abandoned is a step that the processor has given up on.
type abandoned struct {
	id    uint64
	cause error
}

// givenUp waits for a step that the processor gives up on.
func (b *bundle) givenUp() abandoned {
	b.t.Helper()
	select {
	case a := <-b.exec.abandoned:
		return a
	case <-time.After(patience):
		b.t.Fatal("no step was given up")
		return abandoned{}
	}
}

func succeed(context.Context, *pluginv1.Step) *pluginv1.Result { return succeeded(`{"ok": true}`) }

func succeeded(output string) *pluginv1.Result {
	return &pluginv1.Result{Outcome: &pluginv1.Result_Success{Success: &pluginv1.Success{Output: []byte(output)}}}
}

func failure(message string) *pluginv1.Result {
	return &pluginv1.Result{Outcome: &pluginv1.Result_Failure{Failure: &pluginv1.Failure{Message: message}}}
}

// bundle is a processor with one namespace, "ns", on a database of its own.
type bundle struct {
	*processor.Processor
	t      testing.TB
	dsn    string
	exec   *scripted
	broker *pgmq.Broker
	db     *pgxpool.Pool
	steps  chan processor.StepEvent
	opts   processor.Options
}

// fixed is a registry with one plugin for everything.
type fixed struct{ plugin processor.Executor }

func (r fixed) Executor(string) (processor.Executor, bool) { return r.plugin, true }

func fill(ctx context.Context, conn *pgx.Conn) error {
	if _, err := schema.Install(ctx, conn); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, `SELECT pgmq.create(q) FROM unnest(ARRAY['ns_queue','ns_dead','results','other_queue']) q`)
	return err
}

func setup(t testing.TB, exec *scripted, changes ...func(*processor.Options)) *bundle {
	t.Helper()
	return setupOn(t, devpgtest.New(t, devpgtest.Template("processor", fill)), exec, changes...)
}

func setupOn(t testing.TB, dsn string, exec *scripted, changes ...func(*processor.Options)) *bundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := &bundle{t: t, dsn: dsn, exec: exec, steps: make(chan processor.StepEvent, 100_000)}
	var err error
	b.broker, err = pgmq.Open(ctx, pgmq.Options{DSN: dsn, Logger: hclog.NewNullLogger()})
	require.NoError(t, err)
	t.Cleanup(b.broker.Close)
	b.db, err = pgxpool.New(ctx, dsn)
	require.NoError(t, err)
	t.Cleanup(b.db.Close)
	opts := options(b.broker, exec)
	opts.OnStep = func(e processor.StepEvent) { b.steps <- e }
	for _, change := range changes {
		change(&opts)
	}
	b.opts = opts
	b.Processor = processor.New(opts)
	b.Start()
	t.Cleanup(func() {
		b.Stop()
		exec.cancelAll() // also where a test has failed under running handlers
		exec.work.Wait()
	})
	return b
}

// options are those of a host with namespace "ns".
func options(broker *pgmq.Broker, exec *scripted) processor.Options {
	return processor.Options{
		Broker:   broker,
		Registry: fixed{exec},
		Namespaces: []processor.Namespace{{
			Name: "ns", Queue: "ns_queue", Concurrency: 10, StepKey: "step",
			ResultQueue: "results", DeadLetter: "ns_dead",
			Retry: processor.RetryPolicy{MaxAttempts: 3, MaxDeliveries: 3, Delay: processor.Fixed(10 * time.Millisecond)},
		}},
		Limits: processor.Limits{
			MaxConcurrent: 100, BatchSize: 50, BatchProcessing: true, Lease: 30 * time.Second,
			SettlementBuffer: 1000, Bytes: 64 << 20, KillTimeout: patience,
		},
		MaxBody:  64 << 20,
		WorkerID: "test", QueueOf: func(ns string) (string, bool) { return ns + "_queue", ns == "other" || ns == "ns" },
		Metrics: processor.NewMetrics(prometheus.NewRegistry()), Logger: hclog.NewNullLogger(),
	}
}

// send enqueues bodies and tells the lane.
func (b *bundle) send(bodies ...string) []int64 {
	b.t.Helper()
	out := make([]queues.Outgoing, len(bodies))
	for i, body := range bodies {
		out[i].Body = []byte(body)
	}
	ids, err := b.broker.Send(b.t.Context(), "ns_queue", out)
	require.NoError(b.t, err)
	b.hint()
	return ids
}

func (b *bundle) hint() {
	b.t.Helper()
	require.NoError(b.t, b.ExecuteStepFromEvent(b.t.Context(), queues.Event{
		Kind: queues.EventStepReady, Queue: "ns_queue", ReceivedAt: time.Now(),
	}))
}

// settled waits for n settlements and returns them.
func (b *bundle) settled(n int) []processor.StepEvent {
	b.t.Helper()
	var got []processor.StepEvent
	deadline := time.After(patience)
	for len(got) < n {
		select {
		case e := <-b.steps:
			if e.Kind == processor.StepSettled {
				got = append(got, e)
			}
		case <-deadline:
			b.t.Fatalf("%d of %d settlements came", len(got), n)
		}
	}
	return got
}

func (b *bundle) count(sql string, args ...any) int {
	b.t.Helper()
	var n int
	require.NoError(b.t, b.db.QueryRow(b.t.Context(), sql, args...).Scan(&n))
	return n
}

func (b *bundle) exec1(sql string, args ...any) {
	b.t.Helper()
	_, err := b.db.Exec(b.t.Context(), sql, args...)
	require.NoError(b.t, err)
}
