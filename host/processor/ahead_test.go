package processor

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// noted is a ready plugin that runs nothing: it notes what it is given.
type noted struct {
	Executor
	steps []*pluginv1.Step
}

func (*noted) State() ExecutorState { return ExecutorState{Ready: true, Default: "work"} }

func (x *noted) Dispatch(steps []*pluginv1.Step, _ Sink) { x.steps = append(x.steps, steps...) }

// ids are those of the messages that it was given.
func (x *noted) ids() (ids []int64) {
	for _, s := range x.steps {
		ids = append(ids, s.GetMessageId())
	}
	return ids
}

type registryOf struct{ plugin Executor }

func (r registryOf) Executor(string) (Executor, bool) { return r.plugin, true }

// aheadLane is a lane with one slot that may claim ahead, and may hold 400 bytes.
// Its loops do not run.
func aheadLane(t *testing.T, broker queues.Broker) (*lane, *noted) {
	t.Helper()
	plugin := &noted{}
	ns := testDecider().ns
	ns.Concurrency = 1
	p := New(Options{
		Broker: broker, Registry: registryOf{plugin}, Namespaces: []Namespace{ns},
		Limits: Limits{
			MaxConcurrent: 1, Bytes: 400, BatchSize: 50, BatchProcessing: true, SettlementBuffer: 100,
			Lease: time.Minute,
		},
		MaxBody: 1000, Metrics: NewMetrics(prometheus.NewRegistry()), Logger: hclog.NewNullLogger(),
	})
	l := p.table().all[0]
	l.ahead.places = 20
	return l, plugin
}

func (x *noted) state() laneExecutor { return laneExecutor{Executor: x, ExecutorState: x.State()} }

// arrive makes deliveries of n bodies of so many bytes.
func arrive(l *lane, n, bytes int) []queues.Delivery {
	body := make([]byte, bytes)
	for i := range body {
		body[i] = ' '
	}
	body[0], body[bytes-1] = '{', '}'
	deliveries := make([]queues.Delivery, n)
	for i := range deliveries {
		deliveries[i] = queues.Delivery{
			Lease: queues.Lease{Queue: l.queue, ID: int64(len(l.byMessage) + i + 1), Epoch: 1}, Body: body,
		}
	}
	return deliveries
}

// waitAhead has deliveries wait for a slot.
func waitAhead(l *lane, plugin *noted, deliveries []queues.Delivery) {
	l.admit(deliveries, plugin.state(), leaseTerm{l.opts.Now(), time.Minute}, 0)
}

func TestWhatIsClaimedAheadHoldsAQuarterOfTheBytes(t *testing.T) {
	t.Parallel()
	l, plugin := aheadLane(t, nil)
	_, places := l.room(plugin.State())
	require.Positive(t, places)

	waitAhead(l, plugin, arrive(l, 5, 40))
	require.Len(t, l.ahead.waiting, 2)
	require.Len(t, l.pending, 3, "the others are given back")
	for _, e := range l.pending {
		require.Equal(t, queues.Release{Record: e.accounted()}, e.action)
	}
	require.Zero(t, l.ahead.places, "and not claimed again at once")
	held, _ := l.budget.level()
	require.EqualValues(t, 5*40, held)

	l.ahead.places = 20
	l.ahead.takeAll()
	require.Zero(t, l.ahead.bytes)
	waitAhead(l, plugin, arrive(l, 1, 300))
	require.Len(t, l.ahead.waiting, 1, "one may always")
	_, places = l.room(plugin.State())
	require.Zero(t, places, "nothing more while it waits")
	l.dismissPrefetched("the test says so")
	_, places = l.room(plugin.State())
	require.Positive(t, places)
}

// lateBroker claims one message while the last handler ends.
type lateBroker struct {
	queues.Broker
	claim     func() []queues.Delivery
	lookAhead func()
}

func (b *lateBroker) Claim(context.Context, queues.ClaimRequest) ([]queues.Delivery, error) {
	return b.claim(), nil
}

func (b *lateBroker) SweepDue(string) (time.Duration, bool) { return 0, false }

func (b *lateBroker) LookAhead(context.Context, string) (queues.QueueState, error) {
	b.lookAhead()
	return queues.QueueState{NextDue: -1}, nil
}

func TestWhatIsClaimedAheadDoesNotWaitForTheLookAhead(t *testing.T) {
	t.Parallel()
	broker := &lateBroker{}
	l, plugin := aheadLane(t, broker)
	last := testEntry()
	last.id, last.state, last.slot = l.nextID.Add(1), running, true
	l.entries[last.id], l.running = last, l.slots.reserve(l.share, 1)
	broker.claim = func() []queues.Delivery {
		l.finish(func() []*entry {
			l.decide.release(last, "the test says so")
			return []*entry{last}
		})
		return arrive(l, 1, 10)
	}
	looked := false
	broker.lookAhead = func() {
		looked = true
		require.Equal(t, []int64{1}, plugin.ids())
	}
	l.claim(t.Context(), plugin.state(), look{ahead: true})
	require.True(t, looked)
}

func TestWhatLostItsLeaseGetsNoSlot(t *testing.T) {
	t.Parallel()
	l, plugin := aheadLane(t, nil)
	waitAhead(l, plugin, arrive(l, 3, 10))
	l.ahead.waiting[0].leaseLost = true
	l.ahead.waiting[1].leaseLost, l.ahead.waiting[1].sent = true, nil // its large body is still to be fetched
	l.serve()
	require.Equal(t, []int64{3}, plugin.ids(), "the next one does")
	require.Equal(t, 1, l.running)
	require.Len(t, l.pending, 2)
	require.Empty(t, l.fetches)
	require.Empty(t, l.ahead.waiting)
}

func TestSuspectThatLostItsLeaseGetsNoTurn(t *testing.T) {
	t.Parallel()
	l, plugin := aheadLane(t, nil)
	deliveries := arrive(l, 2, 10)
	for i := range deliveries {
		deliveries[i].Record.Suspicion = 1
	}
	waitAhead(l, plugin, deliveries)
	require.Len(t, l.suspects.waiting, 2)
	l.suspects.waiting[0].leaseLost = true
	l.suspects.asked, l.suspects.slots = plugin, 2
	steps := l.Turn(0)
	require.Len(t, steps, 1)
	require.Equal(t, int64(2), steps[0].GetMessageId(), "the next one does")
	require.Equal(t, 1, l.suspects.running)
	require.Equal(t, 1, l.running)
	require.Len(t, l.pending, 1)
	require.Empty(t, l.suspects.waiting)
}

// A step that ends after its lane has been stopped makes room for nothing more.
func TestStoppedLaneStartsNothingThatWaits(t *testing.T) {
	t.Parallel()
	l, plugin := aheadLane(t, nil)
	waitAhead(l, plugin, arrive(l, 2, 10))
	l.hold(true)
	l.serve()
	require.Empty(t, plugin.ids())
	l.hold(false)
	l.serve()
	require.Equal(t, []int64{1}, plugin.ids())
}
