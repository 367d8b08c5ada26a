package queues_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/queuestest"
)

func startPoller(t *testing.T, prober queues.Prober, cfg queues.PollerConfig) *queues.FallbackPoller {
	t.Helper()
	p := queues.NewFallbackPoller(cfg, prober, hclog.NewNullLogger())
	p.Start()
	t.Cleanup(func() { require.NoError(t, p.Stop(context.Background())) })
	return p
}

// foundAfter moves the clock until the poller emits an event.
func foundAfter(t *testing.T, p *queues.FallbackPoller) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		n, err := p.Next(t.Context())
		require.NoError(t, err)
		if _, ok := n.(queues.Event); ok {
			return time.Since(began)
		}
	}
}

func TestPollerFindsWhatWasNotAnnounced(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a", "b")
		p := startPoller(t, store, queues.PollerConfig{Queues: []string{"a", "b"}, Interval: 5 * time.Second})
		proven(t, p)
		drain(t, p)

		store.SendSilently("b", 0)
		n, err := p.Next(t.Context())
		require.NoError(t, err)
		event := n.(queues.Event)
		require.Equal(t, "b", event.Queue)
		require.Equal(t, queues.SourcePoll, event.Source)
		require.Equal(t, queues.EventStepReady, event.Kind)
		require.EqualValues(t, 1, p.Stats().EventsEmitted)
	})
}

func TestPollerKeepsItsIntervalWithJitter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		p := startPoller(t, store, queues.PollerConfig{Queues: []string{"a"}, Interval: 10 * time.Second})
		proven(t, p)
		gaps := make(map[time.Duration]struct{})
		for range 20 {
			stats := p.Stats()
			gap := stats.NextPollAt.Sub(stats.LastPollAt)
			require.InDelta(t, 10, gap.Seconds(), 1.001)
			gaps[gap] = struct{}{}
			time.Sleep(time.Until(stats.NextPollAt))
			synctest.Wait()
		}
		require.Greater(t, len(gaps), 10, "hosts must not poll in step")
		require.EqualValues(t, 21, p.Stats().Cycles)
	})
}

func TestPollerComesWhenAMessageIsDue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		store.SendSilently("a", 700*time.Millisecond)
		p := startPoller(t, store, queues.PollerConfig{Queues: []string{"a"}, Interval: time.Minute})
		require.InDelta(t, 0.7, foundAfter(t, p).Seconds(), 0.05)
	})
}

func TestPollerIsToldOfARetry(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		p := startPoller(t, store, queues.PollerConfig{Queues: []string{"a"}, Interval: time.Minute})
		proven(t, p)
		drain(t, p)
		for _, delay := range []time.Duration{9 * time.Second, 2 * time.Second} {
			store.SendSilently("a", delay)
			p.NotifyDue("a", delay)
		}
		p.NotifyDue("of_others", 0)
		require.InDelta(t, 2, foundAfter(t, p).Seconds(), 0.05)
		store.Take("a")
		require.InDelta(t, 7, foundAfter(t, p).Seconds(), 0.05)
	})
}

func TestPollerDoesNotSpin(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		p := startPoller(t, store, queues.PollerConfig{Queues: []string{"a"}, Interval: 5 * time.Second})
		proven(t, p)

		// Nobody takes the message that is due: its lane is full.
		store.SendSilently("a", 0)
		time.Sleep(time.Minute)
		require.InDelta(t, 13, store.Probes(), 3)

		// Messages are due all the time.
		before := store.Probes()
		for range 1000 {
			p.NotifyDue("a", 0)
			time.Sleep(time.Millisecond)
		}
		require.InDelta(t, 50, store.Probes()-before, 2)

		// And then no more: a hint is good for one probe.
		store.Take("a")
		time.Sleep(10 * time.Second)
		before = store.Probes()
		time.Sleep(time.Minute)
		require.InDelta(t, 12, store.Probes()-before, 2)
	})
}

// slowProber takes its time.
type slowProber struct {
	*queuestest.Store
	takes time.Duration
}

func (p slowProber) Probe(ctx context.Context, names []string) ([]queues.QueueState, error) {
	select {
	case <-time.After(p.takes):
		return p.Store.Probe(ctx, names)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestPollerSparesASlowDatabase(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		p := startPoller(t, slowProber{store, time.Second}, queues.PollerConfig{Queues: []string{"a"}, Interval: time.Minute})
		proven(t, p)
		before := store.Probes()
		for range 50 {
			p.NotifyDue("a", 0)
			time.Sleep(time.Second)
		}
		require.InDelta(t, 10, store.Probes()-before, 1, "at most a fifth of the time")
	})
}

// What a probe takes is part of the interval, which is how long a message waits.
func TestPollerCountsTheIntervalFromTheBeginningOfAProbe(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		p := startPoller(t, slowProber{store, 2 * time.Second}, queues.PollerConfig{Queues: []string{"a"}, Interval: 20 * time.Second})
		proven(t, p)
		before := store.Probes()
		time.Sleep(20 * time.Minute)
		require.InDelta(t, 60, store.Probes()-before, 2)
	})
}

func TestPollerGivesUpAProbeThatHangs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := startPoller(t, slowProber{queuestest.New("a"), time.Hour}, queues.PollerConfig{Queues: []string{"a"}, ProbeTimeout: 3 * time.Second})
		time.Sleep(4 * time.Second)
		require.EqualValues(t, 1, p.Stats().Errors)
		require.Zero(t, p.Pulse().Overdue())
	})
}

func TestPollerBacksOffAndRecovers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		p := startPoller(t, store, queues.PollerConfig{Queues: []string{"a"}, Interval: 100 * time.Millisecond})
		proven(t, p)
		drain(t, p)

		store.SetDown(true)
		store.SendSilently("a", 0)
		p.NotifyDue("a", 0) // is no reason to hurry now
		time.Sleep(5 * time.Minute)
		stats := p.Stats()
		require.InDelta(t, 9+8, stats.Errors, 4)
		require.False(t, stats.Working)
		require.Contains(t, stats.LastError, "store is down")
		_, health, _ := drain(t, p)
		require.Len(t, health, 1)
		require.False(t, health[0].Healthy)

		store.SetDown(false)
		proven(t, p)
		events, health, _ := drain(t, p)
		require.Len(t, events, 1)
		require.True(t, health[0].Healthy)
	})
}

func TestPollerReportsMissingAndFaultyQueues(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a", "faulty")
		store.SetFault("faulty", errors.New("permission denied"))
		store.SendSilently("a", 0)
		p := startPoller(t, store, queues.PollerConfig{Queues: []string{"gone", "faulty", "a"}, Interval: time.Second})
		proven(t, p)
		events, _, config := drain(t, p)
		require.Len(t, events, 1, "the others' trouble is not a's")
		require.Equal(t, []queues.ConfigUpdate{{Type: queues.QueueRemoved, Queue: "gone", At: config[0].At}}, config)
		stats := p.Stats()
		require.Equal(t, []string{"gone"}, stats.MissingQueues)
		require.EqualValues(t, 2, stats.Skipped)
		require.EqualValues(t, 1, stats.QueueErrors)
		states := p.QueueStates()
		require.Equal(t, "a", states[0].Queue)
		require.True(t, states[0].Visible)
		require.ErrorContains(t, states[1].Err, "permission denied")
		require.True(t, states[2].Missing)

		store.SetFault("gone", errors.New("lock timeout"))
		time.Sleep(2 * time.Second)
		store.SetFault("gone", nil)
		time.Sleep(2 * time.Second)
		_, _, config = drain(t, p)
		require.Empty(t, config, "a fault is no news of the queue's existence")

		store.Create("gone")
		store.SendSilently("gone", 0)
		time.Sleep(2 * time.Second)
		events, _, config = drain(t, p)
		require.Len(t, events, 2)
		require.Equal(t, queues.QueueAdded, config[0].Type)
		require.Empty(t, p.Stats().MissingQueues)
	})
}

func TestPollerStopEndsTheLoop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a")
		p := startPoller(t, store, queues.PollerConfig{Queues: []string{"a"}, Interval: time.Second})
		proven(t, p)
		require.NoError(t, p.Stop(t.Context()))
		before := store.Probes()
		time.Sleep(time.Minute)
		require.Equal(t, before, store.Probes())
		require.False(t, p.Stats().Running)

		store.SetDown(true)
		p.Start()
		require.False(t, p.Stats().Working, "what was before says nothing")
		store.SetDown(false)
		proven(t, p)
	})
}

func TestPulseIsOverdueOnceItsPromiseIsBroken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var pulse queues.Pulse
		require.Zero(t, pulse.Overdue())
		pulse.Beat(time.Second)
		time.Sleep(time.Second)
		require.Zero(t, pulse.Overdue())
		time.Sleep(time.Minute)
		require.Equal(t, time.Minute, pulse.Overdue())
		pulse.Beat(0)
		time.Sleep(time.Hour)
		require.Zero(t, pulse.Overdue())
	})
}
