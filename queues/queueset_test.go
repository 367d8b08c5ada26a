package queues_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/queuestest"
)

func queuesOf(events []queues.Event) []string {
	names := make([]string, 0, len(events))
	for _, e := range events {
		names = append(names, e.Queue)
	}
	slices.Sort(names)
	return names
}

func TestListenerTakesOtherQueuesOnTheSameConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a", "b", "c")
		l := startListener(t, store, queues.ListenerConfig{Queues: []string{"a", "b"}})
		proven(t, l)
		drain(t, l)

		began := time.Now()
		l.SetQueues([]string{"b", "c"})
		proven(t, l)
		require.Zero(t, time.Since(began), "the receiving is interrupted")
		events, _, _ := drain(t, l)
		require.Equal(t, []string{"c"}, queuesOf(events), "what is new is swept, nothing else")
		require.Equal(t, queues.SourceSweep, events[0].Source)

		for _, queue := range []string{"a", "b", "c"} {
			store.Send(queue, 0)
		}
		events, _, _ = drain(t, l)
		require.Equal(t, []string{"b", "c"}, queuesOf(events))
		stats := l.Stats()
		require.Equal(t, 2, stats.Queues)
		require.EqualValues(t, 1, stats.Connects, "the connection stays")
		require.Zero(t, stats.Foreign, "nothing of the removed queue arrives")

		l.SetQueues([]string{"c", "b", "c"})
		proven(t, l)
		events, _, _ = drain(t, l)
		require.Empty(t, events, "the same queues in another order are no change")
	})
}

func TestListenerDropsWhatWaitsOfARemovedQueue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a", "b")
		l := startListener(t, store, queues.ListenerConfig{Queues: []string{"a", "b"}})
		proven(t, l)
		drain(t, l)
		store.Send("a", 0)
		store.Announce(queues.Event{Kind: queues.EventStepReady, Queue: "a", Delay: time.Minute})
		store.Send("b", 0)
		synctest.Wait()
		l.SetQueues([]string{"b"})
		events, _, _ := drain(t, l)
		require.Equal(t, []string{"b"}, queuesOf(events))

		l.SetQueues([]string{"a", "b"})
		proven(t, l)
		store.Send("a", 0)
		events, _, _ = drain(t, l)
		require.Equal(t, []string{"a", "a"}, queuesOf(events), "a sweep and a notification")
	})
}

func TestListenerTakesOtherQueuesWithoutAConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a", "b")
		l := startListener(t, store, queues.ListenerConfig{Queues: []string{"a"}})
		proven(t, l)
		store.SetDown(true)
		time.Sleep(time.Minute)
		drain(t, l)
		l.SetQueues([]string{"b"})
		store.SetDown(false)
		proven(t, l)
		events, _, _ := drain(t, l)
		require.Equal(t, []string{"b"}, queuesOf(events))
	})
}

func TestListenerTakesOtherQueuesBeforeItsStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a", "b")
		l := queues.NewListener(queues.ListenerConfig{Queues: []string{"a"}}, store, hclog.NewNullLogger())
		l.SetQueues([]string{"b"})
		l.Start()
		proven(t, l)
		events, _, _ := drain(t, l)
		require.Equal(t, []string{"b"}, queuesOf(events))
		require.NoError(t, l.Stop(t.Context()))
	})
}

func TestPollerTakesOtherQueuesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a", "b")
		p := startPoller(t, store, queues.PollerConfig{Queues: []string{"a"}, Interval: time.Hour})
		proven(t, p)
		drain(t, p)
		store.SendSilently("a", 0)
		store.SendSilently("b", 0)

		p.SetQueues([]string{"b"})
		began := time.Now()
		proven(t, p)
		events, _, _ := drain(t, p)
		require.Equal(t, []string{"b"}, queuesOf(events))
		require.Less(t, time.Since(began), time.Second, "the interval is an hour")
		require.Equal(t, "b", p.QueueStates()[0].Queue)
		require.Len(t, p.QueueStates(), 1)

		// A removal alone asks the database nothing.
		probes := store.Probes()
		p.SetQueues(nil)
		synctest.Wait()
		require.Equal(t, probes, store.Probes())
		require.Empty(t, p.QueueStates())
	})
}
