package processor_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/registry"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// suspect enqueues n messages as a crash leaves them.
func (b *bundle) suspect(n, level int) {
	b.t.Helper()
	b.exec1(`
		INSERT INTO pgmq.q_ns_queue (vt, message, headers)
		SELECT clock_timestamp(), '{"suspect": true}', jsonb_build_object('stephost', jsonb_build_object('v', 1, 'suspicion', $2::int))
		FROM generate_series(1, $1::int)`, n, level)
	b.hint()
}

func (b *bundle) status() processor.NamespaceStatus {
	b.t.Helper()
	status, err := processor.Do(b.t.Context(), b.Processor, processor.GetStatus{})
	require.NoError(b.t, err)
	return status.Namespaces[0]
}

// apart is a plugin that knows which of its steps are suspects' and how many of
// them run.
type apart struct {
	*scripted
	running, most, others atomic.Int64
	hold                  chan struct{}
}

// newApart makes suspects wait until hold is closed.
func newApart() *apart {
	a := &apart{hold: make(chan struct{})}
	a.scripted = newScripted(func(_ context.Context, s *pluginv1.Step) *pluginv1.Result {
		if !strings.Contains(string(s.GetInput()), "suspect") {
			a.others.Add(1)
			return succeeded(`null`)
		}
		now := a.running.Add(1)
		for most := a.most.Load(); now > most && !a.most.CompareAndSwap(most, now); most = a.most.Load() {
		}
		<-a.hold
		a.running.Add(-1)
		return succeeded(`null`)
	})
	return a
}

func TestSuspectsTakeTurnsAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	plugin := newApart()
	b := setup(t, plugin.scripted)
	b.suspect(30, 1)
	require.Eventually(t, func() bool { return plugin.running.Load() == 5 }, patience, time.Millisecond, "half of the namespace's slots")
	require.Eventually(t, func() bool { return b.status().Suspects == 30 }, patience, time.Millisecond)
	bodies := make([]string, 50)
	for i := range bodies {
		bodies[i] = `{}`
	}
	b.send(bodies...)
	b.settled(50)
	require.EqualValues(t, 50, plugin.others.Load())
	require.EqualValues(t, 5, plugin.running.Load(), "the suspects wait all the time")
	close(plugin.hold)
	b.settled(30)
	require.EqualValues(t, 5, plugin.most.Load())
	require.Zero(t, b.status().Suspects)
	require.Zero(t, b.status().Running)
	require.Equal(t, 80, b.count(`SELECT count(*) FROM pgmq.a_ns_queue WHERE read_ct = 1`), "nobody was given back on the way")
}

func TestSuspectOfASerialNamespaceRunsWithNothingBesideIt(t *testing.T) {
	t.Parallel()
	plugin := newApart()
	b := setup(t, plugin.scripted, func(o *processor.Options) { o.Namespaces[0].Concurrency = 1 })
	b.suspect(2, 3)
	require.Eventually(t, func() bool { return plugin.running.Load() == 1 }, patience, time.Millisecond)
	b.send(`{}`)
	require.Equal(t, 1, b.status().Running)
	require.Zero(t, plugin.others.Load())
	close(plugin.hold)
	b.settled(3)
	require.EqualValues(t, 1, plugin.most.Load())
}

func TestWaitingSuspectsAreGivenBackByAPauseAndADrain(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(b *bundle){
		"pause": func(b *bundle) {
			_, err := processor.Do(b.t.Context(), b.Processor, processor.Pause{Namespace: "ns"})
			require.NoError(b.t, err)
		},
		"drain": func(b *bundle) {
			// The group that runs is not waited for: it is cancelled and abandoned.
			ctx, cancel := context.WithCancel(b.t.Context())
			cancel()
			require.NoError(b.t, b.Drain(ctx))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plugin := newApart()
			b := setup(t, plugin.scripted, func(o *processor.Options) { o.KillTimeout = time.Second })
			t.Cleanup(func() { close(plugin.hold) })
			b.suspect(20, 2)
			require.Eventually(t, func() bool { return plugin.running.Load() == 4 && b.status().Suspects == 20 }, patience, time.Millisecond)
			end(b)
			require.Eventually(t, func() bool {
				return b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE vt <= clock_timestamp() AND read_ct = 2 AND headers->'stephost'->>'suspicion' = '2' AND headers->'stephost'->>'accounted' = '2'`) >= 16
			}, patience, time.Millisecond, "another host goes on with them, and it cost them nothing")
		})
	}
}

func TestTimeOfASuspectBeginsWithItsTurn(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	plugin := newApart()
	b := setup(t, plugin.scripted, func(o *processor.Options) {
		o.Namespaces[0].Timeout = time.Hour
		o.Namespaces[0].Retry.MaxAttempts = 1
		o.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	})
	plugin.probation.Lock() // somebody else's turn
	b.suspect(1, 1)
	require.Eventually(t, func() bool { return b.status().Suspects == 1 }, patience, time.Millisecond)
	offset.Store(int64(2 * time.Hour))
	b.send(`{}`)
	b.settled(1)
	plugin.probation.Unlock()
	require.Eventually(t, func() bool { return plugin.running.Load() == 1 }, patience, time.Millisecond)
	offset.Store(int64(3*time.Hour - time.Minute))
	b.send(`{}`)
	b.settled(1)
	close(plugin.hold)
	require.Equal(t, processor.OutcomeSucceeded, b.settled(1)[0].Outcome)
}

func TestSuspectsWithoutATurnComeBackLater(t *testing.T) {
	t.Parallel()
	plugin := newApart()
	close(plugin.hold)
	plugin.refuse(errors.New("the test refuses"))
	b := setup(t, plugin.scripted)
	b.suspect(3, 1)
	for _, e := range b.settled(3) {
		require.Equal(t, processor.OutcomeReleased, e.Outcome)
		require.Equal(t, "the test refuses", e.Err)
	}
	require.Equal(t, 3, b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE headers->'stephost'->>'suspicion' = '1' AND NOT headers->'stephost' ? 'failures'`))
	plugin.refuse(nil)
	b.settled(3)
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_ns_queue`))
}

func TestFewSuspectsAreHeldAtOnce(t *testing.T) {
	t.Parallel()
	plugin := newApart()
	b := setup(t, plugin.scripted, func(o *processor.Options) { o.SettlementBuffer = 20 })
	b.suspect(40, 1)
	require.Eventually(t, func() bool { return plugin.running.Load() == 5 }, patience, time.Millisecond)
	b.send(`{}`, `{}`, `{}`)
	require.Eventually(t, func() bool { return plugin.others.Load() == 3 }, patience, time.Millisecond, "suspects do not take all the room")
	require.LessOrEqual(t, b.status().Suspects, 15)
	close(plugin.hold)
	require.Eventually(t, func() bool { return b.count(`SELECT count(*) FROM pgmq.q_results`) == 43 }, patience, 10*time.Millisecond)
}

func TestWaitingSuspectWhoseLeaseIsLostDoesNotRun(t *testing.T) {
	t.Parallel()
	plugin := newApart()
	b := setup(t, plugin.scripted, func(o *processor.Options) { o.Lease = time.Second })
	plugin.probation.Lock()
	b.suspect(1, 1)
	require.Eventually(t, func() bool {
		return b.count(`WITH u AS (UPDATE pgmq.q_ns_queue SET read_ct = read_ct + 10, vt = clock_timestamp() + interval '1 hour' WHERE read_ct = 1 RETURNING 1) SELECT count(*) FROM u`) == 1
	}, patience, time.Millisecond)
	require.Equal(t, processor.OutcomeLeaseLost, b.settled(1)[0].Outcome)
	plugin.probation.Unlock()
	require.Zero(t, b.status().Suspects)
	require.Zero(t, plugin.running.Load())
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE read_ct = 11`), "the other's lease is untouched")
}

func TestLargeSuspectGivesItsSlotBackWhileItWaits(t *testing.T) {
	t.Parallel()
	plugin := newApart()
	b := setup(t, plugin.scripted)
	plugin.probation.Lock()
	b.exec1(`
		INSERT INTO pgmq.q_ns_queue (vt, message, headers)
		VALUES (clock_timestamp(), jsonb_build_object('suspect', repeat(md5(random()::text), 65536)), '{"stephost": {"v": 1, "suspicion": 1}}')`)
	b.hint()
	require.Eventually(t, func() bool { return b.status().Suspects == 1 }, patience, time.Millisecond)
	require.Zero(t, b.status().Running)
	plugin.probation.Unlock()
	close(plugin.hold)
	require.Equal(t, processor.OutcomeSucceeded, b.settled(1)[0].Outcome)
}

func TestSuspectThatAPluginDidNotAcceptIsNotRedirected(t *testing.T) {
	t.Parallel()
	running, swapped := make(chan struct{}), make(chan struct{})
	old := newScripted(func(context.Context, *pluginv1.Step) *pluginv1.Result {
		close(running)
		<-swapped
		return &pluginv1.Result{Outcome: &pluginv1.Result_NotAccepted{NotAccepted: &pluginv1.NotAccepted{Reason: "draining"}}}
	})
	var ran atomic.Int64
	next := newScripted(func(context.Context, *pluginv1.Step) *pluginv1.Result {
		ran.Add(1)
		return succeeded(`null`)
	})
	next.refuse(errors.New("no turn"))
	var table registry.Registry
	bind(t, &table, old)
	b := setup(t, old, func(o *processor.Options) { o.Registry = &table })
	t.Cleanup(next.work.Wait)
	b.suspect(1, 1)
	<-running
	bind(t, &table, next)
	close(swapped)
	require.Equal(t, "draining", b.settled(1)[0].Err)
	require.Equal(t, "no turn", b.settled(1)[0].Err, "it has become no ordinary message")
	require.Zero(t, ran.Load())
}
