package queues_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/queuestest"
)

// inBubble runs a test on a clock of its own, which moves when all wait.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

func startListener(t *testing.T, store *queuestest.Store, cfg queues.ListenerConfig) *queues.Listener {
	t.Helper()
	l := queues.NewListener(cfg, store, hclog.NewNullLogger())
	l.Start()
	t.Cleanup(func() { require.NoError(t, l.Stop(context.Background())) })
	return l
}

func proven(t *testing.T, source interface{ WaitProven(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, source.WaitProven(ctx))
}

type notifier interface {
	Next(ctx context.Context) (queues.Notification, error)
}

// drain returns everything that can be taken without moving the clock.
func drain(t *testing.T, source notifier) (events []queues.Event, health []queues.HealthUpdate, config []queues.ConfigUpdate) {
	t.Helper()
	synctest.Wait()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		n, err := source.Next(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, queues.ErrStopped) {
			return events, health, config
		}
		require.NoError(t, err)
		switch n := n.(type) {
		case queues.Event:
			events = append(events, n)
		case queues.HealthUpdate:
			health = append(health, n)
		case queues.ConfigUpdate:
			config = append(config, n)
		}
	}
}

func TestListenerSweepsEveryQueueOnceItIsProven(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a", "b")
		l := startListener(t, store, queues.ListenerConfig{Queues: []string{"a", "b"}})
		proven(t, l)

		events, health, _ := drain(t, l)
		require.Len(t, events, 2)
		for i, queue := range []string{"a", "b"} {
			require.Equal(t, queue, events[i].Queue)
			require.Equal(t, queues.SourceSweep, events[i].Source)
			require.Equal(t, queues.EventStepReady, events[i].Kind)
		}
		require.Len(t, health, 1)
		require.True(t, health[0].Healthy)
		stats := l.Stats()
		require.True(t, stats.Connected)
		require.Equal(t, 2, stats.Queues)
		require.Zero(t, stats.Reconnects())
	})
}

func TestListenerPassesNotificationsOn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		l := startListener(t, store, queues.ListenerConfig{Queues: []string{"a"}})
		proven(t, l)
		drain(t, l)

		store.Announce(queues.Event{Kind: queues.EventStepReady, Queue: "a", MessageID: 7})
		events, _, _ := drain(t, l)
		require.Len(t, events, 1)
		require.Equal(t, queues.SourceNotification, events[0].Source)
		require.EqualValues(t, 7, events[0].MessageID)
		require.Equal(t, 1, events[0].Count)

		store.Announce(queues.Event{Kind: queues.EventStepReady, Queue: "of_others"})
		events, _, _ = drain(t, l)
		require.Empty(t, events)
		stats := l.Stats()
		require.EqualValues(t, 2, stats.EventsReceived)
		require.EqualValues(t, 1, stats.StepEvents)
		require.EqualValues(t, 1, stats.Foreign)
	})
}

func TestListenerReconnectsAndSweeps(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		l := startListener(t, store, queues.ListenerConfig{Queues: []string{"a"}, RetryInterval: time.Second})
		proven(t, l)
		drain(t, l)

		store.SetDown(true)
		time.Sleep(5 * time.Minute)
		_, health, _ := drain(t, l)
		require.Len(t, health, 1)
		require.False(t, health[0].Healthy)
		require.Contains(t, health[0].Reason, "store is down")
		stats := l.Stats()
		require.False(t, stats.Connected)
		// 1, 2, 4, 8, 16 and then every 30 s: neither one attempt nor a storm.
		require.InDelta(t, 5+9, stats.ConnectionErrors, 3)
		require.Contains(t, stats.LastError, "store is down")
		require.Zero(t, l.Pulse().Overdue())

		store.SetDown(false)
		proven(t, l)
		events, health, _ := drain(t, l)
		require.Len(t, events, 1)
		require.Equal(t, queues.SourceSweep, events[0].Source)
		require.True(t, health[0].Healthy)
		require.EqualValues(t, 1, l.Stats().Reconnects())
		require.Equal(t, 1, store.Connections())

		// The long outage is forgotten.
		store.Kill()
		time.Sleep(2 * time.Second)
		require.True(t, l.Stats().Connected)
		require.EqualValues(t, 2, l.Stats().Reconnects())
	})
}

func TestListenerStartsWithoutDatabase(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		store.SetDown(true)
		l := startListener(t, store, queues.ListenerConfig{Queues: []string{"a"}})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := l.WaitProven(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "store is down")
		store.SetDown(false)
		proven(t, l)
	})
}

func TestListenerFindsThatNotificationsAreSwallowed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		l := startListener(t, store, queues.ListenerConfig{Queues: []string{"a"}})
		proven(t, l)

		store.SetSwallowing(true)
		time.Sleep(50 * time.Second) // a verification, and its timeout
		require.False(t, l.Stats().Connected)
		require.Contains(t, l.Stats().LastError, "verify that notifications come back")

		store.SetSwallowing(false)
		proven(t, l)
	})
}

func TestListenerCountsMalformedPayloadsAndLogsThemRarely(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		var out bytes.Buffer
		l := queues.NewListener(queues.ListenerConfig{Queues: []string{"a"}}, store,
			hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Warn}))
		l.Start()
		proven(t, l)
		for i := range 1000 {
			store.Announce(queues.Event{Kind: queues.EventUnknown, Payload: fmt.Sprintf("{junk %d", i)})
		}
		store.Announce(queues.Event{Kind: queues.EventStepReady, Queue: "a"})
		events, _, _ := drain(t, l)
		require.Len(t, events, 2) // the sweep and what followed the junk
		require.EqualValues(t, 1000, l.Stats().Malformed)
		time.Sleep(61 * time.Second)
		store.Announce(queues.Event{Kind: queues.EventUnknown, Payload: "again"})
		synctest.Wait()
		require.NoError(t, l.Stop(t.Context()))
		require.Equal(t, 2, strings.Count(out.String(), "cannot be understood"), out.String())
		require.Contains(t, out.String(), "count=1000")
	})
}

func TestListenerMergesWhatNobodyTakes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a", "b")
		l := startListener(t, store, queues.ListenerConfig{Queues: []string{"a", "b"}, Buffer: 8})
		proven(t, l)
		for i := range 10_000 {
			store.Announce(queues.Event{Kind: queues.EventStepReady, Queue: "a", MessageID: int64(i + 1), Count: 2})
			store.Announce(queues.Event{Kind: queues.EventStepReady, Queue: "b", Delay: time.Duration(10_000-i) * time.Minute})
		}
		synctest.Wait()
		// Two sweeps, one of a, and delayed ones until the buffer was full.
		require.LessOrEqual(t, l.Stats().Pending, 8+1)

		ready, delayed := 0, 0
		var soonest time.Duration
		events, _, _ := drain(t, l)
		for _, e := range events {
			switch {
			case e.Source == queues.SourceSweep:
			case e.Queue == "a":
				ready += e.Count
				require.Zero(t, e.MessageID)
			default:
				delayed += e.Count
				if soonest == 0 || e.Delay < soonest {
					soonest = e.Delay
				}
			}
		}
		require.Equal(t, 20_000, ready)
		require.Equal(t, 10_000, delayed)
		require.InDelta(t, time.Minute, soonest, float64(time.Second))
	})
}

func TestListenerCorrectsADelayByTheTimeThatTheEventWaited(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		l := startListener(t, store, queues.ListenerConfig{Queues: []string{"a"}})
		proven(t, l)
		drain(t, l)
		store.Announce(queues.Event{Kind: queues.EventStepReady, Queue: "a", Delay: 10 * time.Second})
		store.Announce(queues.Event{Kind: queues.EventStepReady, Queue: "a", Delay: 3 * time.Second})
		time.Sleep(4 * time.Second)
		events, _, _ := drain(t, l)
		require.Len(t, events, 2)
		require.Equal(t, 6*time.Second, events[0].Delay)
		require.Zero(t, events[1].Delay)
	})
}

func TestListenerSweepsACreatedQueue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		l := startListener(t, store, queues.ListenerConfig{Queues: []string{"a", "late"}})
		proven(t, l)
		drain(t, l)
		store.Create("late")
		store.Create("of_others")
		events, _, config := drain(t, l)
		require.Len(t, events, 1)
		require.Equal(t, "late", events[0].Queue)
		require.Equal(t, queues.SourceSweep, events[0].Source)
		require.Len(t, config, 1)
		require.Equal(t, queues.QueueAdded, config[0].Type)
	})
}

func TestListenerStopsAndStartsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		l := startListener(t, store, queues.ListenerConfig{Queues: []string{"a"}})
		proven(t, l)
		store.Announce(queues.Event{Kind: queues.EventStepReady, Queue: "a"})
		synctest.Wait()
		require.NoError(t, l.Stop(t.Context()))
		require.Zero(t, store.Connections())
		require.ErrorIs(t, l.WaitProven(t.Context()), queues.ErrStopped)

		events, _, _ := drain(t, l)
		require.Len(t, events, 2, "what was found before the stop is still there")
		_, err := l.Next(t.Context())
		require.ErrorIs(t, err, queues.ErrStopped)

		l.Start()
		l.Start() // does nothing
		proven(t, l)
		require.Equal(t, 1, store.Connections())
	})
}

// busy is a connection whose events never end.
type busy struct{ verified atomic.Int64 }

func (b *busy) Subscribe(context.Context, []string) (queues.Subscription, error) { return b, nil }

func (b *busy) Receive(context.Context) (queues.Event, error) {
	time.Sleep(time.Millisecond)
	return queues.Event{Kind: queues.EventStepReady, Queue: "a"}, nil
}

func (b *busy) Verify(context.Context) error {
	b.verified.Add(1)
	return nil
}

func (b *busy) Listen(context.Context, []string) error { return nil }

func (b *busy) Close() error { return nil }

func TestListenerVerifiesAConnectionThatIsNeverQuiet(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		connection := &busy{}
		l := queues.NewListener(queues.ListenerConfig{Queues: []string{"a"}}, connection, hclog.NewNullLogger())
		l.Start()
		for range 300 {
			time.Sleep(time.Second)
			require.Less(t, l.Pulse().Overdue(), time.Second)
		}
		require.InDelta(t, 11, connection.verified.Load(), 2)
		require.NoError(t, l.Stop(t.Context()))
	})
}
