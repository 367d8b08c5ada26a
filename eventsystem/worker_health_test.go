package eventsystem_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/queuestest"
)

func TestHealthFollowsTheSources(t *testing.T) {
	t.Parallel()
	listenerLost := func(s *queuestest.Store) { s.SetSwallowing(true) }
	databaseDown := func(s *queuestest.Store) { s.SetDown(true) }
	for _, tc := range []struct {
		name   string
		mode   eventsystem.Mode
		fault  func(*queuestest.Store)
		status eventsystem.HealthStatus
		reason string
	}{
		{"all is well", eventsystem.Hybrid, func(*queuestest.Store) {}, eventsystem.Healthy, ""},
		{"the poller stands in for the listener", eventsystem.Hybrid, listenerLost, eventsystem.Degraded, "the listener does not work"},
		{"only the sweep is left", eventsystem.EventDrivenOnly, listenerLost, eventsystem.Warning, "the listener does not work"},
		{"a poller does not care", eventsystem.PollingOnly, listenerLost, eventsystem.Healthy, ""},
		{"nothing is left to poll", eventsystem.PollingOnly, databaseDown, eventsystem.Critical, "store is down"},
		{"nothing is left at all", eventsystem.Hybrid, databaseDown, eventsystem.Critical, "store is down"},
		{"a queue is gone", eventsystem.Hybrid, func(s *queuestest.Store) { s.Drop("b") }, eventsystem.Degraded, "queues: do not exist: b"},
		{"a queue is locked", eventsystem.PollingOnly, func(s *queuestest.Store) { s.SetFault("b", errors.New("lock timeout")) }, eventsystem.Degraded, "b (lock timeout)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w, store, _ := startWorker(t, config(tc.mode))
				tc.fault(store)
				time.Sleep(70 * time.Second)
				health := w.Health(t.Context())
				require.Equal(t, tc.status, health.Status, health.Reasons)
				if tc.reason == "" {
					require.Empty(t, health.Reasons)
					require.NoError(t, health.Err())
					return
				}
				require.Contains(t, health.Summary(), tc.reason)
				var unhealthy *eventsystem.HealthCheckError
				require.ErrorAs(t, health.Err(), &unhealthy)
			})
		})
	}
}

func TestHealthFollowsTheProbes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		status := eventsystem.Healthy
		w, _, _ := startWorker(t, config(eventsystem.Hybrid),
			func(context.Context) eventsystem.ComponentHealth {
				return eventsystem.ComponentHealth{Name: "plugins", Status: status, Reason: "orders is backing off"}
			},
			func(ctx context.Context) eventsystem.ComponentHealth {
				_, bounded := ctx.Deadline()
				require.True(t, bounded)
				return eventsystem.ComponentHealth{Name: "database"}
			})
		require.Equal(t, eventsystem.Healthy, w.Health(t.Context()).Status)
		status = eventsystem.Warning
		health := w.Health(t.Context())
		require.Equal(t, eventsystem.Warning, health.Status)
		require.Equal(t, []string{"plugins: orders is backing off"}, health.Reasons)
	})
}

func TestStoppedSystemIsCritical(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, _, _ := newWorker(t, config(eventsystem.Hybrid))
		require.Contains(t, w.Health(t.Context()).Summary(), "does not run")
	})
}

func TestHealthFollowsTheRecentSuccessRate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		processed, failed int
		status            eventsystem.HealthStatus
	}{
		{0, 0, eventsystem.Healthy},
		{96, 4, eventsystem.Healthy},
		{95, 5, eventsystem.Degraded},
		{91, 9, eventsystem.Degraded},
		{90, 10, eventsystem.Warning},
		{76, 24, eventsystem.Warning},
		{75, 25, eventsystem.Critical},
		{0, 19, eventsystem.Degraded}, // too few to say
		{0, 20, eventsystem.Critical},
	} {
		inBubble := func(t *testing.T) {
			r := eventsystem.NewRecorder()
			for i := range tc.processed + tc.failed {
				r.Record("step_ready", "poll", time.Millisecond, i >= tc.processed)
			}
			health := eventsystem.Assess(t.Context(), r.Window(), nil)
			require.Equal(t, tc.status, health.Status, "%d/%d", tc.processed, tc.failed)
			time.Sleep(65 * time.Second)
			health = eventsystem.Assess(t.Context(), r.Window(), nil)
			require.Equal(t, eventsystem.Healthy, health.Status, "what is long past is forgiven")
		}
		synctest.Test(t, inBubble)
	}
}

func TestHealthIsMonitored(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := config(eventsystem.Hybrid)
		cfg.HealthMonitoringEnabled = true
		cfg.HealthCheckInterval = 10 * time.Second
		w, store, _ := startWorker(t, cfg)
		notes, unsubscribe := w.Subscribe(1000)
		defer unsubscribe()
		checks := func() (passed, failed int) {
			synctest.Wait()
			for len(notes) > 0 {
				switch (<-notes).(type) {
				case eventsystem.HealthCheckPassed:
					passed++
				case eventsystem.HealthCheckFailed:
					failed++
				}
			}
			return passed, failed
		}
		time.Sleep(time.Minute)
		passed, failed := checks()
		require.InDelta(t, 6, passed, 1)
		require.Zero(t, failed)

		store.Kill() // at once, and not only at the next interval
		_, failed = checks()
		require.Equal(t, 1, failed)
		time.Sleep(5 * time.Second)
		passed, _ = checks()
		require.Equal(t, 1, passed, "connected again")
	})
}

func TestHealthIsNotMonitoredWhenDisabled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, _, _ := startWorker(t, config(eventsystem.Hybrid))
		notes, unsubscribe := w.Subscribe(1000)
		defer unsubscribe()
		time.Sleep(time.Hour)
		require.Empty(t, notes)
	})
}

// stuck is a commander that ignores its context.
type stuck struct{ released chan struct{} }

func (c stuck) ExecuteStepFromEvent(context.Context, queues.Event) error { return nil }

func (c stuck) ExecuteStep(context.Context, queues.Event) error {
	<-c.released
	return nil
}

func TestLiveNamesTheLoopThatHangs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := queuestest.New("a", "b")
		commander := stuck{make(chan struct{})}
		w, err := eventsystem.NewWorker(config(eventsystem.EventDrivenOnly), eventsystem.WorkerParts{
			Commander: commander, Subscriber: store, Prober: store, Logger: hclog.NewNullLogger(),
		})
		require.NoError(t, err)
		require.NoError(t, w.Start(t.Context()))
		time.Sleep(time.Second)
		require.NoError(t, w.Live(0))
		time.Sleep(5 * time.Minute)
		require.ErrorContains(t, w.Live(time.Minute), "what the listener found")
		require.Equal(t, eventsystem.Critical, w.Health(t.Context()).Status)
		close(commander.released)
		synctest.Wait()
		require.NoError(t, w.Live(0))
		require.NoError(t, w.Stop(t.Context()))
	})
}

func TestAnIdleWorkerIsAlive(t *testing.T) {
	t.Parallel()
	for _, mode := range eventsystem.Modes() {
		t.Run(mode.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				cfg := config(mode)
				cfg.HealthMonitoringEnabled = true
				w, store, _ := startWorker(t, cfg)
				for range 600 {
					time.Sleep(time.Second)
					require.NoError(t, w.Live(0))
				}
				store.SetDown(true)
				for range 600 {
					time.Sleep(time.Second)
					require.NoError(t, w.Live(0))
				}
			})
		})
	}
}

func TestStartIsNotReportedAsAFault(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, down := range []bool{false, true} {
			cfg := config(eventsystem.EventDrivenOnly)
			cfg.HealthMonitoringEnabled = true
			w, store, _ := newWorker(t, cfg)
			store.SetDown(down)
			notes, unsubscribe := w.Subscribe(1000)
			require.NoError(t, w.Start(t.Context()))
			time.Sleep(11 * time.Second)
			unsubscribe()
			failed := 0
			for n := range notes {
				if _, ok := n.(eventsystem.HealthCheckFailed); ok {
					failed++
				}
			}
			require.Equal(t, down, failed > 0, "%d checks failed", failed)
		}
	})
}
