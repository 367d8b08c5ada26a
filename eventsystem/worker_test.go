package eventsystem_test

import (
	"context"
	"errors"
	"fmt"
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

func TestSwitchUnderAFloodLosesAndStallsNothing(t *testing.T) {
	t.Parallel()
	for _, from := range eventsystem.Modes() {
		for _, to := range eventsystem.Modes() {
			if from == to {
				continue
			}
			t.Run(fmt.Sprintf("%v to %v", from, to), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					w, store, lanes := startWorker(t, config(from))
					notes, unsubscribe := w.Subscribe(100_000)
					defer unsubscribe()
					sent := 0
					flood := func(n int) {
						for range n {
							store.Send([]string{"a", "b"}[sent%2], 0)
							sent++
							time.Sleep(time.Millisecond)
						}
					}
					var producer sync.WaitGroup
					producer.Go(func() { flood(2000) })
					time.Sleep(time.Second)
					require.NoError(t, w.SetMode(t.Context(), to))
					require.Equal(t, to, w.Mode())
					producer.Wait()

					// The next look of the slowest source that still counts.
					wait := time.Duration(0)
					if to == eventsystem.PollingOnly {
						wait = 6 * time.Second
					}
					time.Sleep(wait)
					synctest.Wait()
					require.Equal(t, sent, lanes.total())

					var changes []eventsystem.ModeChanged
					for len(notes) > 0 {
						if c, ok := (<-notes).(eventsystem.ModeChanged); ok {
							changes = append(changes, c)
						}
					}
					require.Equal(t, []eventsystem.ModeChanged{{From: from, To: to}}, changes)
					stats := w.Statistics()
					require.Equal(t, to.HasEventDriven(), stats.Listener.Running)
					require.Equal(t, to.HasPolling(), stats.Poller.Running)
					require.Equal(t, to == eventsystem.EventDrivenOnly, stats.Sweep.Running)
				})
			})
		}
	}
}

func TestFailedSwitchLeavesTheOldModeInForce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, store, lanes := startWorker(t, config(eventsystem.PollingOnly))
		store.SetSwallowing(true) // LISTEN goes nowhere
		err := w.SetMode(t.Context(), eventsystem.EventDrivenOnly)
		require.ErrorContains(t, err, "the listener does not work")
		require.ErrorContains(t, err, "verify that notifications come back")
		require.Equal(t, eventsystem.PollingOnly, w.Mode())
		stats := w.Statistics()
		require.False(t, stats.Listener.Running)
		require.False(t, stats.Sweep.Running)
		require.Zero(t, store.Connections())

		store.SendSilently("a", 0)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, lanes.total())
	})
}

func TestSwitchDoesNotTrustAListenerThatLostItsConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, store, _ := startWorker(t, config(eventsystem.Hybrid))
		store.SetDown(true)
		synctest.Wait()
		require.Error(t, w.SetMode(t.Context(), eventsystem.EventDrivenOnly))
		require.Equal(t, eventsystem.Hybrid, w.Mode())
		require.True(t, w.Statistics().Poller.Running)
	})
}

func TestSwitchesComeOneAfterTheOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, _, _ := startWorker(t, config(eventsystem.Hybrid))
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				if err := w.SetMode(t.Context(), eventsystem.Modes()[i%3]); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		stats := w.Statistics()
		require.Equal(t, stats.Mode.HasEventDriven(), stats.Listener.Running)
		require.Equal(t, stats.Mode.HasPolling(), stats.Poller.Running)
		require.Equal(t, stats.Mode == eventsystem.EventDrivenOnly, stats.Sweep.Running)
	})
}

func TestIllegalTransitions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var illegal *eventsystem.InvalidTransitionError
		w, _, _ := newWorker(t, config(eventsystem.Hybrid))
		require.ErrorAs(t, w.SetMode(t.Context(), eventsystem.PollingOnly), &illegal)
		require.Contains(t, illegal.Reason, "does not run")

		for _, tc := range []struct {
			listener, poller bool
			from, to         eventsystem.Mode
			reason           string
		}{
			{false, true, eventsystem.PollingOnly, eventsystem.Hybrid, "listener.enabled"},
			{false, true, eventsystem.PollingOnly, eventsystem.EventDrivenOnly, "listener.enabled"},
			{true, false, eventsystem.EventDrivenOnly, eventsystem.PollingOnly, "fallback_poller.enabled"},
			{true, false, eventsystem.EventDrivenOnly, eventsystem.Hybrid, "fallback_poller.enabled"},
			{true, true, eventsystem.Hybrid, eventsystem.Mode(9), "no deployment mode"},
		} {
			cfg := config(tc.from)
			cfg.ListenerEnabled, cfg.PollerEnabled = tc.listener, tc.poller
			w, _, _ := startWorker(t, cfg)
			require.ErrorAs(t, w.SetMode(t.Context(), tc.to), &illegal)
			require.Equal(t, tc.from, illegal.From)
			require.Equal(t, tc.to, illegal.To)
			require.Contains(t, illegal.Error(), tc.reason)
			require.NoError(t, w.SetMode(t.Context(), tc.from))
		}

		cfg := config(eventsystem.Hybrid)
		cfg.ListenerEnabled = false
		_, err := eventsystem.NewWorker(cfg, eventsystem.WorkerParts{Logger: hclog.NewNullLogger()})
		var wrong *eventsystem.ConfigurationError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, "deployment_mode", wrong.Key)
	})
}

func TestStopAbandonsASwitch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, store, _ := startWorker(t, config(eventsystem.PollingOnly))
		store.SetSwallowing(true)
		failed := make(chan error, 1)
		go func() { failed <- w.SetMode(context.Background(), eventsystem.Hybrid) }()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, w.Stop(t.Context()))
		require.Zero(t, time.Since(began))
		require.ErrorIs(t, <-failed, context.Canceled)
		require.Zero(t, store.Connections())
	})
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

func TestSwitchFinishesWhatTheLastOneCouldNotStop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a", "b")
		commander := stuck{make(chan struct{})}
		store.SendSilently("a", 0)
		w, err := eventsystem.NewWorker(config(eventsystem.Hybrid), eventsystem.WorkerParts{
			Commander: commander, Subscriber: store, Prober: store, Logger: hclog.NewNullLogger(),
		})
		require.NoError(t, err)
		require.NoError(t, w.Start(t.Context()))
		require.NoError(t, w.WaitProven(t.Context()))
		synctest.Wait()
		require.ErrorContains(t, w.SetMode(t.Context(), eventsystem.EventDrivenOnly), "switched from Hybrid to EventDrivenOnly, but")
		require.Equal(t, eventsystem.EventDrivenOnly, w.Mode())
		close(commander.released)
		require.NoError(t, w.SetMode(t.Context(), eventsystem.Hybrid))
		require.NoError(t, w.Stop(t.Context()))
	})
}
