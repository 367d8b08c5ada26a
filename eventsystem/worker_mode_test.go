package eventsystem_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/queues/queuestest"
)

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
			w.Allow(true, true)
			if tc.to.HasEventDriven() || tc.to.HasPolling() {
				require.NoError(t, w.SetMode(t.Context(), tc.to))
			}
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
