package eventsystem_test

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// heard passes on every event that it is given.
type heard chan queues.Event

func (h heard) ExecuteStepFromEvent(ctx context.Context, e queues.Event) error { return h.pass(ctx, e) }
func (h heard) ExecuteStep(ctx context.Context, e queues.Event) error          { return h.pass(ctx, e) }

func (h heard) pass(ctx context.Context, e queues.Event) error {
	select {
	case h <- e:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// onPostgres is a worker on a real database.
type onPostgres struct {
	*eventsystem.Worker
	t      *testing.T
	broker *pgmq.Broker
	db     *pgx.Conn
	heard  heard
}

// patience bounds every wait for the real world.
const patience = 20 * time.Second

func startOnPostgres(t *testing.T, cfg eventsystem.WorkerConfig) *onPostgres {
	t.Helper()
	dsn := pgmqtest.New(t, pgmqtest.V1_10)
	broker, err := pgmq.Open(t.Context(), pgmq.Options{DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	db, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close(context.Background())) })
	h := &onPostgres{t: t, broker: broker, db: db, heard: make(heard, 1024)}
	h.create("a")
	h.Worker, err = eventsystem.NewWorker(cfg, eventsystem.WorkerParts{
		Commander: h.heard, Subscriber: broker, Prober: broker, Logger: hclog.NewNullLogger(),
	})
	require.NoError(t, err)
	require.NoError(t, h.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, h.Stop(ctx))
	})
	h.proven()
	return h
}

func (h *onPostgres) proven() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	require.NoError(h.t, h.WaitProven(ctx))
}

func (h *onPostgres) create(queue string) {
	h.t.Helper()
	_, err := h.broker.CreateQueue(h.t.Context(), queue)
	require.NoError(h.t, err)
}

func (h *onPostgres) send(queue string, delay time.Duration) {
	h.t.Helper()
	_, err := h.broker.Send(h.t.Context(), queue, []queues.Outgoing{{Queue: queue, Body: []byte(`{}`), Delay: delay}})
	require.NoError(h.t, err)
}

// await returns the next event from the source about the queue.
func (h *onPostgres) await(source queues.Source, queue string) queues.Event {
	h.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case e := <-h.heard:
			if e.Source == source && e.Queue == queue {
				return e
			}
		case <-deadline.C:
			require.FailNowf(h.t, "nothing found", "queue %s by %v; %+v", queue, source, h.Statistics())
		}
	}
}

func (h *onPostgres) exec(sql string, args ...any) {
	h.t.Helper()
	_, err := h.db.Exec(h.t.Context(), sql, args...)
	require.NoError(h.t, err)
}

func TestPostgresNotificationReachesTheCommander(t *testing.T) {
	t.Parallel()
	cfg := config(eventsystem.EventDrivenOnly)
	cfg.SafetySweep = time.Hour
	h := startOnPostgres(t, cfg)
	h.await(queues.SourceSweep, "a")
	h.send("a", 0)
	h.await(queues.SourceNotification, "a")
}

func TestPostgresPollerFindsWithoutNotification(t *testing.T) {
	t.Parallel()
	cfg := config(eventsystem.PollingOnly)
	cfg.PollingInterval = 100 * time.Millisecond
	h := startOnPostgres(t, cfg)
	h.send("a", 0)
	h.await(queues.SourcePoll, "a")
}

func TestPostgresPollIsBroughtForwardToADueMessage(t *testing.T) {
	t.Parallel()
	cfg := config(eventsystem.PollingOnly)
	cfg.PollingInterval = time.Hour
	h := startOnPostgres(t, cfg)
	h.send("a", time.Second)
	h.NotifyDue("a", 0) // as a lane does after a retry; the probe learns when it is due
	h.await(queues.SourcePoll, "a")
}

func TestPostgresListenerRecoversFromATerminatedBackend(t *testing.T) {
	t.Parallel()
	cfg := config(eventsystem.EventDrivenOnly)
	cfg.SafetySweep, cfg.RetryInterval = time.Hour, 10*time.Millisecond
	h := startOnPostgres(t, cfg)
	h.await(queues.SourceSweep, "a")
	h.await(queues.SourceSweep, "b")

	h.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	h.await(queues.SourceSweep, "a")
	h.proven()
	stats := h.Statistics().Listener
	require.EqualValues(t, 1, stats.Reconnects())
	require.NotZero(t, stats.ConnectionErrors)
	h.send("a", 0)
	h.await(queues.SourceNotification, "a")
}

func TestPostgresQueueCreatedAfterStart(t *testing.T) {
	t.Parallel()
	for _, mode := range eventsystem.Modes() {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			cfg := config(mode)
			cfg.PollingInterval = 100 * time.Millisecond
			h := startOnPostgres(t, cfg)
			h.create("b")
			h.send("b", 0)
			source := queues.SourcePoll
			if mode == eventsystem.EventDrivenOnly {
				source = queues.SourceNotification
			}
			h.await(source, "b")
		})
	}
}

func TestPostgresModeSwitches(t *testing.T) {
	t.Parallel()
	cfg := config(eventsystem.Hybrid)
	cfg.PollingInterval = 100 * time.Millisecond
	h := startOnPostgres(t, cfg)
	for _, to := range []eventsystem.Mode{
		eventsystem.EventDrivenOnly, eventsystem.PollingOnly, eventsystem.Hybrid,
		eventsystem.PollingOnly, eventsystem.EventDrivenOnly, eventsystem.Hybrid,
	} {
		require.NoError(t, h.SetMode(t.Context(), to))
		require.Equal(t, to, h.Mode())
		var listening int
		require.NoError(t, h.db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name LIKE '%listen%'`).Scan(&listening))
		if to.HasEventDriven() {
			require.Equal(t, 1, listening)
			h.send("a", 0)
			h.await(queues.SourceNotification, "a")
		} else {
			h.send("a", 0)
			h.await(queues.SourcePoll, "a")
		}
	}
}
