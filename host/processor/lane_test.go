package processor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/processor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

func TestStepsRunAndSettleWithOneResultEach(t *testing.T) {
	t.Parallel()
	b := setup(t, newScripted(succeed))
	bodies := make([]string, 500)
	for i := range bodies {
		bodies[i] = fmt.Sprintf(`{"n": %d}`, i)
	}
	b.send(bodies...)
	for _, e := range b.settled(500) {
		require.Equal(t, processor.OutcomeSucceeded, e.Outcome)
	}
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_ns_queue`))
	require.Equal(t, 500, b.count(`SELECT count(*) FROM pgmq.a_ns_queue`))
	require.Equal(t, 500, b.count(`SELECT count(DISTINCT message->>'message_id') FROM pgmq.q_results`))
	require.Equal(t, 500, b.count(`SELECT count(*) FROM pgmq.q_results`))
}

func TestNeverMoreInFlightThanConcurrency(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int64
	b := setup(t, newScripted(func(context.Context, *pluginv1.Step) *pluginv1.Result {
		now := running.Add(1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		time.Sleep(time.Millisecond)
		running.Add(-1)
		return succeeded(`null`)
	}), func(o *processor.Options) { o.Namespaces[0].Concurrency = 4 })
	bodies := make([]string, 100)
	for i := range bodies {
		bodies[i] = `{}`
	}
	b.send(bodies...)
	b.settled(100)
	require.LessOrEqual(t, most.Load(), int64(4))
	require.Equal(t, 100, b.count(`SELECT count(*) FROM pgmq.a_ns_queue WHERE read_ct = 1`), "nothing was claimed that could not run")
}

func TestFailuresRetryThenDeadLetter(t *testing.T) {
	t.Parallel()
	var attempts []uint32
	b := setup(t, newScripted(func(_ context.Context, s *pluginv1.Step) *pluginv1.Result {
		attempts = append(attempts, s.GetAttempt()) // one message: one at a time
		return failure("no luck")
	}))
	ids := b.send(`{"x": 1}`)
	got := b.settled(3)
	require.Equal(t, []uint32{1, 2, 3}, attempts)
	require.Equal(t, processor.OutcomeRetried, got[1].Outcome)
	require.Equal(t, processor.OutcomeDeadLettered, got[2].Outcome)

	dead, err := b.broker.DeadList(t.Context(), "ns_dead", pgmq.DeadFilter{}, 0, 10)
	require.NoError(t, err)
	require.Len(t, dead, 1)
	require.Equal(t, queues.DeadAttemptsSpent, dead[0].Record.Dead.Reason)
	require.Equal(t, 3, dead[0].Record.Failures)
	require.Len(t, dead[0].Record.Errors, 3)
	require.Equal(t, ids[0], dead[0].Record.Origin.ID)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results WHERE message->>'success' = 'false'`))
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_ns_queue`))
}

func TestBadMessagesAreDeadLetteredAndBlockNobody(t *testing.T) {
	t.Parallel()
	b := setup(t, newScripted(succeed))
	b.exec1(`INSERT INTO pgmq.q_ns_queue (vt, message) SELECT clock_timestamp(), m FROM unnest(ARRAY['[1]', 'null', '"x"', '7', NULL, '{}']::jsonb[]) m`)
	b.hint()
	outcomes := map[processor.Outcome]int{}
	for _, e := range b.settled(6) {
		outcomes[e.Outcome]++
	}
	require.Equal(t, map[processor.Outcome]int{processor.OutcomeDeadLettered: 5, processor.OutcomeSucceeded: 1}, outcomes)
	require.Equal(t, 5, b.count(`SELECT count(*) FROM pgmq.q_ns_dead WHERE headers->'stephost'->'dead'->>'reason' = 'not_an_object'`))
	require.Equal(t, 6, b.count(`SELECT count(*) FROM pgmq.q_results`))
}

func TestUnknownStepIsRetriedThenDeadLettered(t *testing.T) {
	t.Parallel()
	b := setup(t, newScripted(succeed))
	b.send(`{"step": "nothing of ours"}`)
	got := b.settled(3)
	require.Equal(t, processor.OutcomeDeadLettered, got[2].Outcome)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_ns_dead WHERE headers->'stephost'->'dead'->>'reason' = 'unknown_step'`))
}

func TestEmitsGoOutWithTheSettlement(t *testing.T) {
	t.Parallel()
	b := setup(t, newScripted(func(context.Context, *pluginv1.Step) *pluginv1.Result {
		res := succeeded(`1`)
		res.GetSuccess().Emits = []*pluginv1.Emit{
			{Target: &pluginv1.Emit_Namespace{Namespace: "other"}, Body: []byte(`{"from": "ns"}`)},
			{Target: &pluginv1.Emit_Queue{Queue: "other_queue"}, Body: []byte(`{"from": "ns"}`), Headers: []byte(`{"h": 1}`), DelayMs: 3_600_000},
		}
		return res
	}))
	b.send(`{}`)
	b.settled(1)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_other_queue WHERE vt <= clock_timestamp()`))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_other_queue WHERE vt > clock_timestamp() + interval '50 minutes' AND headers->>'h' = '1'`))
}

func TestRefusedResultFailsAloneWhileTheRestSettles(t *testing.T) {
	t.Parallel()
	b := setup(t, newScripted(func(_ context.Context, s *pluginv1.Step) *pluginv1.Result {
		if strings.Contains(string(s.GetInput()), "bad") {
			return succeeded(`{"text": "\u0000"}`)
		}
		return succeeded(`1`)
	}), func(o *processor.Options) { o.Namespaces[0].Retry.MaxAttempts = 1 })
	b.send(`{"n": 1}`, `{"bad": 1}`, `{"n": 2}`, `{"n": 3}`)
	outcomes := map[processor.Outcome]int{}
	for _, e := range b.settled(4) {
		outcomes[e.Outcome]++
	}
	require.Equal(t, map[processor.Outcome]int{processor.OutcomeSucceeded: 3, processor.OutcomeDeadLettered: 1}, outcomes)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_ns_dead WHERE headers->'stephost'->'dead'->>'reason' = 'settlement_refused'`))
	require.Equal(t, 4, b.count(`SELECT count(*) FROM pgmq.q_results`))
}

func TestHandlerLongerThanItsLeaseRunsOnce(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	finish := make(chan struct{})
	b := setup(t, newScripted(func(context.Context, *pluginv1.Step) *pluginv1.Result {
		runs.Add(1)
		<-finish
		return succeeded(`1`)
	}), func(o *processor.Options) { o.Lease = time.Second })
	b.send(`{}`)
	// Three lease times by the database's clock, seen as three extensions' worth
	// of vt ahead of the enqueue time.
	require.Eventually(t, func() bool {
		b.hint()
		return b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE vt > enqueued_at + interval '3 seconds'`) == 1
	}, patience, 20*time.Millisecond)
	close(finish)
	require.Equal(t, processor.OutcomeSucceeded, b.settled(1)[0].Outcome)
	require.EqualValues(t, 1, runs.Load())
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.a_ns_queue WHERE read_ct = 1`))
}

func TestRedeliveryOfARunningMessageIsAdopted(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	finish := make(chan struct{})
	b := setup(t, newScripted(func(context.Context, *pluginv1.Step) *pluginv1.Result {
		runs.Add(1)
		<-finish
		return succeeded(`1`)
	}))
	b.send(`{}`)
	require.Eventually(t, func() bool { return runs.Load() == 1 }, patience, time.Millisecond)
	// As if the lease had run out unnoticed.
	b.exec1(`UPDATE pgmq.q_ns_queue SET vt = clock_timestamp()`)
	require.Eventually(t, func() bool {
		require.NoError(t, b.ExecuteStep(t.Context(), queues.Event{Queue: "ns_queue", Source: queues.SourcePoll, ReceivedAt: time.Now()}))
		return b.count(`SELECT max(read_ct) FROM pgmq.q_ns_queue`) == 2
	}, patience, 5*time.Millisecond)
	close(finish)
	require.Equal(t, processor.OutcomeSucceeded, b.settled(1)[0].Outcome)
	require.EqualValues(t, 1, runs.Load())
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results`))
}

func TestLostLeaseCancelsAndTheOtherOwnerKeepsTheMessage(t *testing.T) {
	t.Parallel()
	causes := make(chan error, 1)
	b := setup(t, newScripted(func(ctx context.Context, _ *pluginv1.Step) *pluginv1.Result {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return failure("stopped")
	}), func(o *processor.Options) { o.Lease = time.Second })
	b.send(`{}`)
	require.Eventually(t, func() bool {
		return b.count(`WITH u AS (UPDATE pgmq.q_ns_queue SET read_ct = read_ct + 10, vt = clock_timestamp() + interval '1 hour' WHERE read_ct = 1 RETURNING 1) SELECT count(*) FROM u`) == 1
	}, patience, time.Millisecond)
	select {
	case cause := <-causes:
		require.ErrorContains(t, cause, "LEASE_LOST")
	case <-time.After(patience):
		t.Fatal("the handler was not cancelled")
	}
	require.Equal(t, processor.OutcomeLeaseLost, b.settled(1)[0].Outcome)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE read_ct = 11`), "the other's lease is untouched")
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_results`))
}

func TestDeliveriesWithoutOutcomeEndInTheDeadLetters(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	b := setup(t, newScripted(func(context.Context, *pluginv1.Step) *pluginv1.Result {
		runs.Add(1)
		return nil // the plugin dies
	}))
	b.send(`{}`)
	got := b.settled(4)
	require.Equal(t, processor.OutcomeDeadLettered, got[3].Outcome)
	require.EqualValues(t, 3, runs.Load(), "max_deliveries executions")
	var record queues.Record
	var raw []byte
	require.NoError(t, b.db.QueryRow(t.Context(), `SELECT headers->'stephost' FROM pgmq.q_ns_dead`).Scan(&raw))
	require.NoError(t, json.Unmarshal(raw, &record))
	require.Equal(t, queues.DeadDeliveriesSpent, record.Dead.Reason)
	require.Zero(t, record.Failures)
	require.Contains(t, record.Dead.Error, "the plugin was killed")
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results WHERE message->>'status' = 'error'`))
}

func TestNothingIsClaimedWhileThePluginIsNotReady(t *testing.T) {
	t.Parallel()
	exec := newScripted(succeed)
	exec.setReady(false)
	b := setup(t, exec)
	b.send(`{}`)
	require.Eventually(t, func() bool {
		status, err := processor.Do(t.Context(), b.Processor, processor.GetStatus{})
		require.NoError(t, err)
		return strings.Contains(status.Namespaces[0].Blocked, "the test says so")
	}, patience, time.Millisecond)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE read_ct = 0`))
	exec.setReady(true)
	b.settled(1)
}

// Nobody claims for a paused namespace, so nothing would ever say that it works
// again.
func TestPauseEndsTheFaultOfClaims(t *testing.T) {
	t.Parallel()
	b := setup(t, newScripted(succeed))
	_, err := b.db.Exec(t.Context(), `ALTER TABLE pgmq.q_ns_queue RENAME COLUMN vt TO later`)
	require.NoError(t, err)
	faults := func() []string {
		status, err := processor.Do(t.Context(), b.Processor, processor.GetStatus{})
		require.NoError(t, err)
		return status.Namespaces[0].Faults
	}
	b.hint()
	require.Eventually(t, func() bool { return len(faults()) == 1 }, patience, time.Millisecond)
	_, err = processor.Do(t.Context(), b.Processor, processor.Pause{Namespace: "ns"})
	require.NoError(t, err)
	require.Empty(t, faults())
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	b := setup(t, newScripted(succeed))
	_, err := processor.Do(t.Context(), b.Processor, processor.Pause{Namespace: "ns"})
	require.NoError(t, err)
	b.send(`{}`)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE read_ct = 0`))
	_, err = processor.Do(t.Context(), b.Processor, processor.Resume{Namespace: "ns"})
	require.NoError(t, err)
	b.settled(1)
	_, err = processor.Do(t.Context(), b.Processor, processor.Pause{Namespace: "none"})
	require.ErrorIs(t, err, processor.ErrUnknownNamespace)
}

func TestDrainWaitsThenCancelsThenGivesBack(t *testing.T) {
	t.Parallel()
	ignore := make(chan struct{})
	b := setup(t, newScripted(func(ctx context.Context, s *pluginv1.Step) *pluginv1.Result {
		switch in := string(s.GetInput()); {
		case strings.Contains(in, "obeys"):
			<-ctx.Done()
			return failure("stopped")
		case strings.Contains(in, "ignores"):
			<-ignore
			return succeeded(`1`)
		}
		return succeeded(`1`)
	}), func(o *processor.Options) { o.KillTimeout = 100 * time.Millisecond })
	b.send(`{}`, `{"obeys": 1}`, `{"ignores": 1}`)
	require.Eventually(t, func() bool {
		return b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE read_ct = 1`) == 2
	}, patience, time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // no time at all for handlers to finish by themselves
	require.NoError(t, b.Drain(ctx))
	close(ignore)
	// What was given back may have been met by a claim that was under way.
	require.Equal(t, 2, b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE vt <= clock_timestamp() AND read_ct IN (2, 4)`), "given back at once")
	require.Equal(t, 2, b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE headers->'stephost'->>'accounted' = read_ct::text AND NOT headers->'stephost' ? 'failures'`), "at no cost")
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results`))
	require.Empty(t, b.exec.abandoned, "the plugin is stopped anyway")
}

func TestTimeoutOfAHandlerThatIgnoresIt(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := setup(t, newScripted(func(context.Context, *pluginv1.Step) *pluginv1.Result {
		<-release
		return succeeded(`1`)
	}), func(o *processor.Options) {
		o.Namespaces[0].Timeout = 50 * time.Millisecond
		o.Namespaces[0].Retry.MaxAttempts = 1
		o.KillTimeout = 50 * time.Millisecond
		o.Lease = time.Second
	})
	b.send(`{}`)
	got := b.settled(1)
	require.Equal(t, processor.OutcomeDeadLettered, got[0].Outcome)
	require.Contains(t, got[0].Err, "ignored the cancellation")
	abandoned := b.givenUp()
	var hung *processor.HungHandlerError
	require.ErrorAs(t, abandoned.cause, &hung)
	require.Equal(t, "work", hung.Step)
	require.EqualValues(t, 1, hung.MessageID)
	require.GreaterOrEqual(t, hung.Ignored, 50*time.Millisecond)
	require.Contains(t, hung.Error(), `handler "work" has ignored its cancellation (timeout) for `)
	close(release) // the late success must not count
	b.exec.work.Wait()
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results`))
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.a_ns_queue`))
}

func TestSnoozedMessageComesBackOnTime(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	b := setup(t, newScripted(func(_ context.Context, s *pluginv1.Step) *pluginv1.Result {
		if runs.Add(1) == 1 {
			return &pluginv1.Result{Outcome: &pluginv1.Result_Snooze{Snooze: &pluginv1.Snooze{DelayMs: 50}}}
		}
		return succeeded(fmt.Sprint(s.GetAttempt()))
	}))
	b.send(`{}`)
	got := b.settled(2) // nobody polls: the lane's own due timer wakes it
	require.Equal(t, processor.OutcomeSnoozed, got[0].Outcome)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results WHERE message->>'result' = '1'`), "the attempt was not spent")
}

func TestDelayedMessageOfAnotherProducerIsPickedUpAfterASweep(t *testing.T) {
	t.Parallel()
	b := setup(t, newScripted(succeed))
	b.exec1(`INSERT INTO pgmq.q_ns_queue (vt, message) VALUES (clock_timestamp() + interval '200 milliseconds', '{}')`)
	require.NoError(t, b.ExecuteStep(t.Context(), queues.Event{Queue: "ns_queue", Source: queues.SourceSweep, ReceivedAt: time.Now()}))
	b.settled(1)
}

// dueAtLookAhead makes everything visible just before it is asked what is.
type dueAtLookAhead struct {
	queues.Broker
	release func()
}

func (b dueAtLookAhead) LookAhead(ctx context.Context, queue string) (queues.QueueState, error) {
	b.release()
	return b.Broker.LookAhead(ctx, queue)
}

func TestMessageThatBecomesDueBetweenTheClaimAndTheLookAheadIsFound(t *testing.T) {
	t.Parallel()
	for name, before := range map[string][]string{"found others": {`{}`}, "found nothing": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b *bundle
			var once sync.Once
			ready := make(chan struct{})
			b = setup(t, newScripted(func(context.Context, *pluginv1.Step) *pluginv1.Result { return succeeded(`null`) }), func(o *processor.Options) {
				o.Broker = dueAtLookAhead{o.Broker, func() {
					<-ready
					once.Do(func() {
						b.exec1(`UPDATE pgmq.q_ns_queue SET vt = clock_timestamp() WHERE vt > clock_timestamp() + interval '30 minutes'`)
					})
				}}
			})
			close(ready)
			b.exec1(`INSERT INTO pgmq.q_ns_queue (vt, message) VALUES (clock_timestamp() + interval '1 hour', '{}')`)
			for _, body := range before {
				b.exec1(`INSERT INTO pgmq.q_ns_queue (vt, message) VALUES (clock_timestamp(), $1)`, body)
			}
			require.NoError(t, b.ExecuteStep(t.Context(), queues.Event{
				Kind: queues.EventStepReady, Source: queues.SourcePoll, Queue: "ns_queue", ReceivedAt: time.Now(),
			}))
			b.settled(len(before) + 1)
		})
	}
}

func TestLargeBodiesAreFetchedUnderTheByteBudget(t *testing.T) {
	t.Parallel()
	b := setup(t, newScripted(func(_ context.Context, s *pluginv1.Step) *pluginv1.Result {
		return succeeded(fmt.Sprint(len(s.GetInput())))
	}), func(o *processor.Options) {
		o.Bytes = 3 << 20
		o.MaxBody = 4 << 20
		o.Namespaces[0].Retry.MaxAttempts = 1
	})
	for range 5 {
		b.exec1(`INSERT INTO pgmq.q_ns_queue (vt, message) VALUES (clock_timestamp(), jsonb_build_object('x', repeat(md5(random()::text), 65536)))`)
	}
	b.exec1(`INSERT INTO pgmq.q_ns_queue (vt, message) VALUES (clock_timestamp(), jsonb_build_object('x', repeat(md5(random()::text), 200000)))`)
	b.hint()
	outcomes := map[processor.Outcome]int{}
	for _, e := range b.settled(6) {
		outcomes[e.Outcome]++
	}
	require.Equal(t, map[processor.Outcome]int{processor.OutcomeSucceeded: 5, processor.OutcomeDeadLettered: 1}, outcomes)
	require.Equal(t, 5, b.count(`SELECT count(*) FROM pgmq.q_results WHERE (message->>'result')::int > 2000000`))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_ns_dead WHERE headers->>'stephost' LIKE '%the message body has 6400% bytes and a plugin takes at most 4194304%'`))
}

func TestDroppedResultQueueStopsTheNamespaceAndLosesNothing(t *testing.T) {
	t.Parallel()
	finish := make(chan struct{})
	var runs atomic.Int64
	b := setup(t, newScripted(func(context.Context, *pluginv1.Step) *pluginv1.Result {
		runs.Add(1)
		<-finish
		return succeeded(`1`)
	}))
	b.send(`{}`)
	require.Eventually(t, func() bool { return runs.Load() == 1 }, patience, time.Millisecond)
	b.exec1(`SELECT pgmq.drop_queue('results')`)
	close(finish)
	require.Equal(t, processor.OutcomeReleased, b.settled(1)[0].Outcome)
	b.exec1(`SELECT pgmq.create('results')`)
	for {
		if e := b.settled(1)[0]; e.Outcome == processor.OutcomeSucceeded {
			break
		}
	}
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results`))
}

func TestQueueMadeAnewUnderARunningStepKeepsItsMessages(t *testing.T) {
	t.Parallel()
	finish := make(chan struct{})
	var ran atomic.Int64
	b := setup(t, newScripted(func(_ context.Context, s *pluginv1.Step) *pluginv1.Result {
		ran.Add(1)
		if strings.Contains(string(s.GetInput()), "old") {
			<-finish
		}
		return succeeded(string(s.GetInput()))
	}))
	ids := b.send(`{"old": 1}`)
	require.Eventually(t, func() bool { return ran.Load() == 1 }, patience, time.Millisecond)
	b.exec1(`SELECT pgmq.drop_queue('ns_queue')`)
	b.exec1(`SELECT pgmq.create('ns_queue')`)
	// The new message has the old one's id, and gets its epoch.
	require.Equal(t, ids, b.send(`{"new": 1}`))
	require.Equal(t, processor.OutcomeSucceeded, b.settled(1)[0].Outcome)
	b.exec1(`SELECT pgmq.drop_queue('ns_queue')`)
	b.exec1(`SELECT pgmq.create('ns_queue')`)
	// The same id and epoch again, leased by another host.
	b.exec1(`INSERT INTO pgmq.q_ns_queue (read_ct, vt, message) VALUES (1, clock_timestamp() + interval '1 hour', '{"new": 2}')`)
	close(finish)
	require.Equal(t, processor.OutcomeLeaseLost, b.settled(1)[0].Outcome)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_ns_queue`), "the old step's outcome does not settle it")
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results`))
}
