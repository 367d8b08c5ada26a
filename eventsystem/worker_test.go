package eventsystem_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/queuestest"
)

// inBubble runs a test on a clock of its own, which moves when all wait.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

// taker takes the visible messages of a queue when it is told to look, as a
// lane with free slots does.
type taker struct {
	store *queuestest.Store

	mu    sync.Mutex
	taken map[string]int
	last  time.Time
	paths map[string]int
	err   error
	delay time.Duration
}

func (c *taker) ExecuteStepFromEvent(ctx context.Context, e queues.Event) error {
	return c.look(ctx, e, "event")
}

func (c *taker) ExecuteStep(ctx context.Context, e queues.Event) error {
	return c.look(ctx, e, "poll")
}

func (c *taker) look(ctx context.Context, e queues.Event, path string) error {
	c.mu.Lock()
	delay := c.delay
	c.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths[path]++
	if n := c.store.Take(e.Queue); n > 0 {
		c.taken[e.Queue] += n
		c.last = time.Now()
	}
	return c.err
}

func (c *taker) total() (total int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.taken {
		total += n
	}
	return total
}

func (c *taker) takenOf(queue string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken[queue]
}

func (c *taker) set(delay time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay, c.err = delay, err
}

func (c *taker) lastAt() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func config(mode eventsystem.Mode) eventsystem.WorkerConfig {
	return eventsystem.WorkerConfig{
		Mode: mode, Queues: []string{"a", "b"},
		ListenerEnabled: true, PollerEnabled: true,
	}
}

func newWorker(t *testing.T, cfg eventsystem.WorkerConfig, probes ...eventsystem.Probe) (*eventsystem.Worker, *queuestest.Store, *taker) {
	t.Helper()
	store := queuestest.New("a", "b")
	lanes := &taker{store: store, taken: make(map[string]int), paths: make(map[string]int)}
	w, err := eventsystem.NewWorker(cfg, eventsystem.WorkerParts{
		Commander: lanes, Subscriber: store, Prober: store, Probes: probes, Logger: hclog.NewNullLogger(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Stop(context.Background())) })
	return w, store, lanes
}

func startWorker(t *testing.T, cfg eventsystem.WorkerConfig, probes ...eventsystem.Probe) (*eventsystem.Worker, *queuestest.Store, *taker) {
	t.Helper()
	w, store, lanes := newWorker(t, cfg, probes...)
	require.NoError(t, w.Start(t.Context()))
	require.NoError(t, w.WaitProven(t.Context()))
	synctest.Wait()
	return w, store, lanes
}

func TestModes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		mode eventsystem.Mode
		// announced and silent are how late a message may be found.
		announced, silent time.Duration
		connections       int
	}{
		{eventsystem.PollingOnly, 6 * time.Second, 6 * time.Second, 0},
		{eventsystem.Hybrid, 0, 6 * time.Second, 1},
		{eventsystem.EventDrivenOnly, 0, 66 * time.Second, 1},
	} {
		t.Run(tc.mode.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w, store, lanes := newWorker(t, config(tc.mode))
				store.SendSilently("a", 0) // was there before the host
				require.False(t, w.Running())
				require.NoError(t, w.Start(t.Context()))
				require.True(t, w.Running())
				require.NoError(t, w.WaitProven(t.Context()))
				synctest.Wait()
				require.Equal(t, 1, lanes.total())
				require.Equal(t, tc.connections, store.Connections())

				store.Send("a", 0)
				time.Sleep(tc.announced)
				synctest.Wait()
				require.Equal(t, 2, lanes.total())

				store.SendSilently("b", 0)
				time.Sleep(tc.silent)
				synctest.Wait()
				require.Equal(t, 3, lanes.total())

				require.ErrorIs(t, w.Start(t.Context()), eventsystem.ErrAlreadyRunning)
				require.NoError(t, w.Stop(t.Context()))
				require.False(t, w.Running())
				require.Zero(t, store.Connections())
			})
		})
	}
}

func TestPollingOnlyDoesNotListenAndEventDrivenOnlyDoesNotPoll(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, store, lanes := startWorker(t, config(eventsystem.EventDrivenOnly))
		probes := store.Probes()
		time.Sleep(50 * time.Second)
		require.Equal(t, probes, store.Probes())
		require.False(t, w.Statistics().Poller.Running)

		require.NoError(t, w.SetMode(t.Context(), eventsystem.PollingOnly))
		synctest.Wait()
		lanes.mu.Lock()
		before := lanes.paths["event"]
		lanes.mu.Unlock()
		store.Send("a", 0)
		time.Sleep(10 * time.Second)
		lanes.mu.Lock()
		defer lanes.mu.Unlock()
		require.Equal(t, before, lanes.paths["event"])
	})
}

func TestDelayedMessagesAreFoundOnTimeInEveryMode(t *testing.T) {
	t.Parallel()
	for _, mode := range eventsystem.Modes() {
		t.Run(mode.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w, store, lanes := startWorker(t, config(mode))
				time.Sleep(time.Second)
				store.SendSilently("a", 2*time.Second)
				due := time.Now().Add(2 * time.Second)
				if mode.HasEventDriven() {
					store.Announce(queues.Event{Kind: queues.EventStepReady, Queue: "a", Delay: 2 * time.Second})
				} else {
					w.NotifyDue("a", 2*time.Second) // as for a retry
				}
				time.Sleep(2*time.Second + 50*time.Millisecond)
				synctest.Wait()
				require.Equal(t, 1, lanes.total())
				require.WithinRange(t, lanes.lastAt(), due, due.Add(50*time.Millisecond))
			})
		})
	}
}

func TestStartWithoutADatabase(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, store, lanes := newWorker(t, config(eventsystem.Hybrid))
		store.SetDown(true)
		store.SendSilently("a", 0)
		require.NoError(t, w.Start(t.Context()))
		time.Sleep(time.Minute)
		health := w.Health(t.Context())
		require.Equal(t, eventsystem.Critical, health.Status)
		require.Contains(t, health.Summary(), "store is down")
		store.SetDown(false)
		require.NoError(t, w.WaitProven(t.Context()))
		synctest.Wait()
		require.Equal(t, 1, lanes.total())
		require.Equal(t, eventsystem.Healthy, w.Health(t.Context()).Status)
	})
}

func TestSlowCommanderStallsNoSourceAndCountsAsFailed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, store, lanes := startWorker(t, config(eventsystem.EventDrivenOnly))
		lanes.set(time.Second, nil)
		before := w.Statistics()
		for range 50_000 {
			store.Send("a", 0)
		}
		synctest.Wait()
		stats := w.Statistics()
		require.EqualValues(t, 50_000, stats.Listener.StepEvents, "all received while the commander is busy")
		require.LessOrEqual(t, stats.Listener.Pending, 1)

		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, 50_000, lanes.total())
		stats = w.Statistics()
		require.Greater(t, stats.EventsFailed, before.EventsFailed)
		require.Contains(t, stats.LastError, "processing_timeout")
	})
}

func TestStopProcessesWhatWasFound(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, store, lanes := startWorker(t, config(eventsystem.EventDrivenOnly))
		lanes.set(time.Second, nil)
		store.Send("a", 0)
		store.Send("b", 0)
		synctest.Wait()
		require.NoError(t, w.Stop(t.Context()))
		require.Equal(t, 2, lanes.total())
	})
}

func TestStopKeepsItsDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, store, lanes := startWorker(t, config(eventsystem.EventDrivenOnly))
		lanes.set(5*time.Second, nil)
		store.Send("a", 0)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, w.Stop(ctx), context.DeadlineExceeded)
		began := time.Now()
		require.NoError(t, w.Stop(t.Context()))
		require.Zero(t, time.Since(began), "the commander was told to give up")
	})
}

func TestWorkerStartsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, store, lanes := startWorker(t, config(eventsystem.Hybrid))
		require.NoError(t, w.Stop(t.Context()))
		store.Send("a", 0)
		require.NoError(t, w.Start(t.Context()))
		require.NoError(t, w.WaitProven(t.Context()))
		synctest.Wait()
		require.Equal(t, 1, lanes.total())
	})
}

func TestStatisticsAreMeasured(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, store, lanes := startWorker(t, config(eventsystem.Hybrid))
		notes, unsubscribe := w.Subscribe(1)
		defer unsubscribe()
		before := w.Statistics()
		require.EqualValues(t, 1, before.ModeScore)

		lanes.set(10*time.Millisecond, nil)
		for range 3 {
			store.Send("a", 0)
			time.Sleep(20 * time.Millisecond)
		}
		lanes.set(0, errors.New("no such namespace"))
		store.Send("b", 0)
		at := time.Now()
		synctest.Wait()
		time.Sleep(time.Second)

		stats := w.Statistics()
		require.EqualValues(t, 3, stats.EventsProcessed-before.EventsProcessed)
		require.EqualValues(t, 1, stats.EventsFailed)
		require.EqualValues(t, 4, stats.BySource["notification"])
		require.EqualValues(t, 2, stats.BySource["sweep"])
		require.Equal(t, 4, lanes.paths["event"])
		require.Equal(t, int(before.EventsProcessed), lanes.paths["poll"])
		require.EqualValues(t, stats.EventsProcessed+stats.EventsFailed, stats.ByKind["step_ready"])
		require.Equal(t, at, stats.LastEventAt)
		require.InDelta(t, 0.011, stats.Recent.P99.Seconds(), 0.003)
		require.Contains(t, stats.LastError, "no such namespace")
		require.EqualValues(t, 3, stats.NotificationsLost, "a subscriber that does not read holds up nothing")
		require.IsType(t, eventsystem.EventProcessed{}, <-notes)

		for range 3 {
			w.Credit(queues.SourceNotification)
		}
		w.Credit(queues.SourcePoll)
		require.InDelta(t, 0.75, w.Statistics().ModeScore, 1e-9)
	})
}

func TestProcessEventRefusesWhatItDoesNotUnderstand(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, _, _ := startWorker(t, config(eventsystem.PollingOnly))
		require.Error(t, w.ProcessEvent(t.Context(), queues.Event{Queue: "a"}))
		require.EqualValues(t, 1, w.Statistics().EventsFailed)
	})
}
