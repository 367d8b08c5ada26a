package processor_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

// behaviour is how a handler ends, once.
type behaviour string

const (
	succeeds   behaviour = "succeeds"
	fails      behaviour = "fails"
	snoozes    behaviour = "snoozes"
	dies       behaviour = "dies with its process"
	vanishes   behaviour = "ends with its stream"
	hangs      behaviour = "ignores its cancellation, and answers then"
	notStarted behaviour = "is not accepted"
)

// schedule is what happens to some messages and their hosts: the processor with
// all its loops, where TestModel turns them by hand.
type schedule struct {
	t     *rapid.T
	db    *pgxpool.Pool
	plans map[int][]behaviour // by message; afterwards it succeeds

	mu       sync.Mutex
	runs     map[int]int // executions, by message
	failures map[int]int // those that failed or hung
	faults   int
	hosts    [2]*runningHost
}

type runningHost struct {
	*processor.Processor
	plugin *scripted
	broker *pgmq.Broker
	stop   context.CancelFunc // of the hints
	hints  sync.WaitGroup
	// vanished are the steps that end with their stream and not their process.
	vanished sync.Map
}

// died is a crash of the process with so many steps.
type died int

func (d died) Error() string { return fmt.Sprintf("the process died with %d steps", int(d)) }
func (d died) Alone() bool   { return d == 1 }
func (died) Trace() string   { return "panic: boom" }

// TestRandomSchedules runs whole processors against random handlers, restarts of
// hosts and terminated connections, and looks at the end whether every message
// has its one result.
func TestRandomSchedules(t *testing.T) {
	t.Parallel()
	dsn := devpgtest.New(t, devpgtest.Template("processor", fill))
	db, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(db.Close)
	left := schedules()
	rapid.Check(t, func(rt *rapid.T) {
		if left--; left < 0 {
			return
		}
		s := &schedule{t: rt, db: db, plans: map[int][]behaviour{}, runs: map[int]int{}, failures: map[int]int{}}
		s.run(dsn)
	})
}

// schedules is how many to run. Each takes a second or two, most of it waiting, so
// it is few unless somebody asks for a number.
func schedules() int {
	few := 8
	flag.Visit(func(f *flag.Flag) {
		if f.Name == "rapid.checks" {
			few = math.MaxInt
		}
	})
	return few
}

func (s *schedule) run(dsn string) {
	s.exec(`TRUNCATE pgmq.q_ns_queue, pgmq.a_ns_queue, pgmq.q_ns_dead, pgmq.q_results, pgmq.q_other_queue`)
	defer func() {
		for _, h := range s.hosts {
			if h != nil {
				h.kill()
			}
		}
	}()
	for i := range s.hosts {
		s.hosts[i] = s.start(dsn)
	}
	s.send(rapid.IntRange(1, 12).Draw(s.t, "messages"))
	for range rapid.IntRange(0, 4).Draw(s.t, "faults") {
		s.await(rapid.IntRange(0, 10).Draw(s.t, "executions before it"))
		h := rapid.IntRange(0, len(s.hosts)-1).Draw(s.t, "host")
		switch fault := rapid.SampledFrom([]string{"kill", "drain", "terminate", "not ready", "send"}).Draw(s.t, "fault"); fault {
		case "kill":
			s.faults++
			s.hosts[h].kill()
			s.hosts[h] = s.start(dsn)
		case "drain":
			s.faults++ // what is cancelled runs again
			s.hosts[h].drain()
			s.hosts[h].kill()
			s.hosts[h] = s.start(dsn)
		case "terminate":
			s.faults++
			s.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'stephost%'`)
		case "not ready":
			s.hosts[h].plugin.setReady(false)
			s.await(rapid.IntRange(0, 5).Draw(s.t, "executions meanwhile"))
			s.hosts[h].plugin.setReady(true)
		case "send":
			s.send(rapid.IntRange(1, 5).Draw(s.t, "messages"))
		}
	}
	s.awaitEmptyQueue()
	for _, h := range s.hosts {
		h.drain()
	}
	s.audit()
}

func (s *schedule) exec(sql string, args ...any) {
	_, err := s.db.Exec(context.Background(), sql, args...)
	require.NoError(s.t, err)
}

// start makes a host that is told every now and then that there may be work.
func (s *schedule) start(dsn string) *runningHost {
	broker, err := pgmq.Open(context.Background(), pgmq.Options{DSN: dsn})
	require.NoError(s.t, err)
	h := &runningHost{broker: broker}
	h.plugin = newScripted(func(ctx context.Context, step *pluginv1.Step) *pluginv1.Result { return s.handle(ctx, h, step) })
	h.plugin.died = func(step *pluginv1.Step) error {
		if _, vanished := h.vanished.LoadAndDelete(step.GetId()); vanished {
			return errors.New("the stream ended")
		}
		h.plugin.mu.Lock()
		defer h.plugin.mu.Unlock()
		return died(len(h.plugin.running) + 1)
	}
	opts := options(broker, h.plugin)
	opts.Lease = time.Second
	opts.KillTimeout = 100 * time.Millisecond
	opts.Namespaces[0].Timeout = 200 * time.Millisecond
	opts.Namespaces[0].Retry.MaxDeliveries = 100
	opts.Namespaces[0].Retry.MaxCrashes = 2
	h.Processor = processor.New(opts)
	h.Start()
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.hints.Go(func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			_ = h.ExecuteStep(ctx, queues.Event{Kind: queues.EventStepReady, Source: queues.SourcePoll, Queue: "ns_queue", ReceivedAt: time.Now()})
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	return h
}

// kill ends a host without a word about what it has in hand.
func (h *runningHost) kill() {
	h.stop()
	h.hints.Wait()
	h.Stop()
	h.plugin.cancelAll()
	h.plugin.work.Wait()
	h.broker.Close()
}

func (h *runningHost) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = h.Drain(ctx) // what it could not give back comes back with its lease
}

func (s *schedule) send(n int) {
	for range n {
		tag := len(s.plans) + 1
		plan := rapid.SliceOfN(rapid.SampledFrom([]behaviour{fails, fails, snoozes, dies, vanishes, hangs, notStarted}), 0, 4).Draw(s.t, "plan")
		s.mu.Lock()
		s.plans[tag] = plan
		s.mu.Unlock()
		s.exec(`SELECT pgmq.send('ns_queue', jsonb_build_object('n', $1::int))`, tag)
	}
}

// await waits for some more executions, as long as it is worth it: when it is
// that a fault comes is anyone's guess, and nothing depends on it.
func (s *schedule) await(executions int) {
	s.mu.Lock()
	before := s.executions()
	s.mu.Unlock()
	for range 100 {
		s.mu.Lock()
		enough := s.executions() >= before+executions
		s.mu.Unlock()
		if enough {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *schedule) executions() (n int) {
	for _, runs := range s.runs {
		n += runs
	}
	return n
}

// handle is every message's handler.
func (s *schedule) handle(ctx context.Context, h *runningHost, step *pluginv1.Step) *pluginv1.Result {
	var message struct{ N int }
	_ = json.Unmarshal(step.GetInput(), &message)
	s.mu.Lock()
	s.runs[message.N]++
	run, next := s.runs[message.N], succeeds
	if plan := s.plans[message.N]; run <= len(plan) {
		next = plan[run-1]
	}
	if next == fails || next == hangs {
		s.failures[message.N]++
	}
	s.mu.Unlock()
	switch next {
	case fails:
		return failure("as planned")
	case snoozes:
		return &pluginv1.Result{Outcome: &pluginv1.Result_Snooze{Snooze: &pluginv1.Snooze{DelayMs: 5}}}
	case notStarted:
		return &pluginv1.Result{Outcome: &pluginv1.Result_NotAccepted{NotAccepted: &pluginv1.NotAccepted{}}}
	case dies:
		return nil
	case vanishes:
		h.vanished.Store(step.GetId(), true)
		return nil
	case hangs:
		<-ctx.Done()
		select { // given up, or the host has ended
		case <-h.plugin.abandoned:
		case <-time.After(time.Second):
		}
	}
	result := succeeded(fmt.Sprintf(`{"n": %d, "run": %d}`, message.N, run))
	result.GetSuccess().Emits = []*pluginv1.Emit{{
		Target: &pluginv1.Emit_Namespace{Namespace: "other"}, Body: fmt.Appendf(nil, `{"n": %d, "run": %d}`, message.N, run),
	}}
	return result
}

func (s *schedule) awaitEmptyQueue() {
	deadline := time.Now().Add(patience)
	for {
		var left int
		require.NoError(s.t, s.db.QueryRow(context.Background(), `SELECT count(*) FROM pgmq.q_ns_queue`).Scan(&left))
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d messages are never settled", left)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ended is all that the database knows of a message at the end.
type ended struct {
	Tag, Archived, Dead, Results, Emits int
	Attempt                             *int
	Success                             *bool
	Consistent                          *bool // result and emit are of the same execution
	Reason                              *string
	Failures                            *int
}

func (s *schedule) audit() {
	rows, err := s.db.Query(context.Background(), `
		SELECT n AS tag,
			(SELECT count(*)::int FROM pgmq.a_ns_queue WHERE (message->>'n')::int = n) AS archived,
			(SELECT count(*)::int FROM pgmq.q_ns_dead WHERE (message->>'n')::int = n) AS dead,
			count(r.msg_id)::int AS results,
			(SELECT count(*)::int FROM pgmq.q_other_queue WHERE (message->>'n')::int = n) AS emits,
			max((r.message->>'attempt')::int) AS attempt, bool_and((r.message->>'success')::bool) AS success,
			bool_and((r.message->'result'->'run') = (SELECT min((message->>'run')::int)::text::jsonb FROM pgmq.q_other_queue WHERE (message->>'n')::int = n)) AS consistent,
			(SELECT min(headers->'stephost'->'dead'->>'reason') FROM pgmq.q_ns_dead WHERE (message->>'n')::int = n) AS reason,
			(SELECT min((headers->'stephost'->>'failures')::int) FROM pgmq.q_ns_dead WHERE (message->>'n')::int = n) AS failures
		FROM (SELECT message->>'n' AS n, msg_id::text AS id FROM pgmq.a_ns_queue
			UNION ALL SELECT message->>'n', headers->'stephost'->'origin'->>'msg_id' FROM pgmq.q_ns_dead) m(tag, id)
		CROSS JOIN LATERAL (SELECT tag::int) t(n)
		LEFT JOIN pgmq.q_results r ON r.message->>'message_id' = m.id
		GROUP BY n ORDER BY n`)
	require.NoError(s.t, err)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[ended])
	require.NoError(s.t, err)
	require.Len(s.t, all, len(s.plans), "a message is lost")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range all {
		s.judge(m)
	}
}

func (s *schedule) judge(m ended) {
	plan := fmt.Sprintf("message %d, planned %q, ran %d times", m.Tag, s.plans[m.Tag], s.runs[m.Tag])
	require.Equal(s.t, 1, m.Archived+m.Dead, "%s: is settled once", plan)
	require.Equal(s.t, 1, m.Results, "%s: has one result", plan)
	require.Equal(s.t, m.Archived == 1, *m.Success, plan)
	if m.Archived == 1 {
		require.Equal(s.t, 1, m.Emits, "%s: emits with its settlement", plan)
		require.True(s.t, *m.Consistent, "%s: emits and result are of one execution", plan)
		require.LessOrEqual(s.t, *m.Attempt-1, s.failures[m.Tag], "%s: only failures spend the budget", plan)
		if s.faults == 0 {
			require.LessOrEqual(s.t, s.runs[m.Tag], len(s.plans[m.Tag])+1, "%s: runs again only for a reason", plan)
		}
		return
	}
	require.Zero(s.t, m.Emits, "%s: a dead letter emits nothing", plan)
	switch *m.Reason {
	case "attempts_spent":
		require.Equal(s.t, 3, *m.Failures, plan)
		require.GreaterOrEqual(s.t, s.failures[m.Tag], 3, "%s: only failures spend the budget", plan)
	case "crashes":
		deaths := 0
		for _, b := range s.plans[m.Tag] {
			if b == dies {
				deaths++
			}
		}
		require.GreaterOrEqual(s.t, deaths, 2, plan)
	default:
		s.t.Fatalf("%s: died of %s", plan, *m.Reason)
	}
}
