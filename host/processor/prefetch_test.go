package processor_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/processor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// ahead is a host whose handlers are quick until it has claimed messages ahead of
// their slots. From then on they wait, and the host's clock with them: so what
// waits for a slot is not given back.
type ahead struct {
	*bundle
	clock   stopwatch
	reached chan struct{}
	hold    chan struct{}

	running, most, held atomic.Int64
	// wanted is the handler whose steps are meant to come, wrong how many others did.
	wanted atomic.Value
	wrong  atomic.Int64
}

// stopwatch is a clock that can be stopped, and moved by hand.
type stopwatch struct {
	mu      sync.Mutex
	behind  time.Duration // the real time
	stopped time.Time     // zero: it goes
}

func (c *stopwatch) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped.IsZero() {
		return c.stopped
	}
	return time.Now().Add(-c.behind)
}

func (c *stopwatch) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = time.Now().Add(-c.behind)
}

func (c *stopwatch) move(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = c.stopped.Add(by)
}

func (c *stopwatch) goOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped.IsZero() {
		c.behind, c.stopped = time.Since(c.stopped), time.Time{}
	}
}

const (
	aheadSteps = 3000
	aheadSlots = 4
)

func claimAhead(t *testing.T) *ahead {
	t.Helper()
	a := &ahead{reached: make(chan struct{}), hold: make(chan struct{})}
	var (
		once  sync.Once
		ready = make(chan struct{})
	)
	a.wanted.Store("work")
	a.bundle = setup(t, newScripted(func(ctx context.Context, s *pluginv1.Step) *pluginv1.Result {
		if s.GetStep() != a.wanted.Load() {
			a.wrong.Add(1)
		}
		now := a.running.Add(1)
		defer a.running.Add(-1)
		for most := a.most.Load(); now > most && !a.most.CompareAndSwap(most, now); most = a.most.Load() {
		}
		<-ready
		select {
		case <-a.reached: // all wait
		default:
			status, err := processor.Do(context.Background(), a.Processor, processor.GetStatus{})
			if err != nil || status.Namespaces[0].Prefetched == 0 {
				return succeeded(`null`)
			}
		}
		once.Do(func() {
			a.clock.stop()
			close(a.reached)
		})
		a.held.Add(1)
		select {
		case <-a.hold:
		case <-ctx.Done():
		}
		return succeeded(`null`)
	}), func(o *processor.Options) {
		o.Namespaces[0].Concurrency = aheadSlots
		o.Now = a.clock.now
	})
	t.Cleanup(a.clock.goOn)
	close(ready)
	a.exec1(`INSERT INTO pgmq.q_ns_queue (vt, message) SELECT clock_timestamp(), '{}' FROM generate_series(1, $1::int)`, aheadSteps)
	a.hint()
	select {
	case <-a.reached:
	case <-time.After(patience):
		t.Fatal("nothing was claimed ahead")
	}
	require.Eventually(t, func() bool {
		return a.held.Load() == aheadSlots && a.status().Prefetched > 0
	}, patience, time.Millisecond)
	return a
}

// finished lets the handlers go and tells that every message ran once.
func (a *ahead) finished() {
	a.t.Helper()
	a.clock.goOn()
	close(a.hold)
	require.Eventually(a.t, func() bool {
		return a.status().Counts[processor.OutcomeSucceeded] == aheadSteps
	}, patience, 10*time.Millisecond)
	require.Equal(a.t, aheadSteps, a.count(`SELECT count(*) FROM pgmq.a_ns_queue`))
	require.Equal(a.t, aheadSteps, a.count(`SELECT count(DISTINCT message ->> 'message_id') FROM pgmq.q_results`), "one result each")
	require.LessOrEqual(a.t, a.most.Load(), int64(aheadSlots))
}

// givenBack waits until nothing is leased but what runs.
func (a *ahead) givenBack() {
	a.t.Helper()
	require.Eventually(a.t, func() bool {
		s := a.status()
		return s.Prefetched == 0 && s.Settling == 0
	}, patience, time.Millisecond)
	require.LessOrEqual(a.t, a.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE vt > clock_timestamp()`), aheadSlots)
}

func TestWhatIsClaimedAheadRunsInSlotsThatComeFree(t *testing.T) {
	t.Parallel()
	a := claimAhead(t)
	// What is claimed ahead needs no further claim.
	require.Positive(t, a.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE vt > clock_timestamp()`)-aheadSlots)
	a.finished()
	require.Equal(t, aheadSteps, a.count(`SELECT count(*) FROM pgmq.a_ns_queue WHERE read_ct = 1`), "nothing was given back")
}

func TestPauseGivesBackWhatWasClaimedAhead(t *testing.T) {
	t.Parallel()
	a := claimAhead(t)
	_, err := processor.Do(t.Context(), a.Processor, processor.Pause{Namespace: "ns"})
	require.NoError(t, err)
	a.givenBack()
	_, err = processor.Do(t.Context(), a.Processor, processor.Resume{Namespace: "ns"})
	require.NoError(t, err)
	a.finished()
}

func TestHandlersThatTurnSlowKeepNothingThatWasClaimedAhead(t *testing.T) {
	t.Parallel()
	a := claimAhead(t)
	// A claim that is under way may bring more once the clock has been moved.
	require.Eventually(t, func() bool {
		a.clock.move(time.Second + 1)
		return a.status().Prefetched == 0
	}, patience, 100*time.Millisecond)
	a.givenBack()
	require.Positive(t, a.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE read_ct = 2 AND vt <= clock_timestamp() AND headers->'stephost'->>'accounted' = '2'`),
		"another host may have them, and it cost them nothing")
	a.finished()
}

func TestUnreadyPluginGivesBackWhatWasClaimedAhead(t *testing.T) {
	t.Parallel()
	a := claimAhead(t)
	a.exec.setReady(false)
	a.hint()
	a.givenBack()
	a.exec.setReady(true)
	a.finished()
}

func TestDrainGivesBackWhatWasClaimedAhead(t *testing.T) {
	t.Parallel()
	a := claimAhead(t)
	drained := make(chan error, 1)
	go func() { drained <- a.Drain(context.Background()) }()
	a.givenBack()
	close(a.hold)
	require.NoError(t, <-drained)
	require.Zero(t, a.count(`SELECT count(*) FROM pgmq.q_ns_queue WHERE vt > clock_timestamp()`))
	require.Equal(t, aheadSteps, a.count(`SELECT (SELECT count(*) FROM pgmq.q_ns_queue) + (SELECT count(*) FROM pgmq.a_ns_queue)`))
}

func TestReplacedPluginRunsWhatWasClaimedAhead(t *testing.T) {
	t.Parallel()
	a := claimAhead(t)
	require.Eventually(t, func() bool { return a.running.Load() == aheadSlots }, patience, time.Millisecond)
	a.exec.mu.Lock()
	a.exec.handler = "other"
	a.exec.mu.Unlock()
	a.wanted.Store("other")
	a.finished()
	require.Zero(t, a.wrong.Load(), "the new one does not have the old one's handler")
}
