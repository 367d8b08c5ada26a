package host_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/internal/devpg/devpgtest"

	"github.com/jackc/pgx/v5"
)

func TestEachModeEndToEnd(t *testing.T) {
	t.Parallel()
	for _, mode := range eventsystem.Modes() {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := start(t, settings{events: fmt.Sprintf(`
				deployment_mode = %q
				fallback_poller { polling_interval = "50ms" }`, mode)})
			b.send("a_queue", bodies(300, `{}`)...)
			b.results(300)
			require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_a_queue`))
			require.Equal(t, 300, b.count(`SELECT count(*) FROM pgmq.a_a_queue WHERE read_ct = 1`))
			b.drained()
		})
	}
}

func TestLostNotificationIsFoundByThePoller(t *testing.T) {
	t.Parallel()
	b := start(t, settings{events: `fallback_poller { polling_interval = "100ms" }`})
	b.quiet("a_queue")
	b.send("a_queue", `{}`)
	b.results(1)
}

// TestThrottledMessagesWaitForNobody: what a producer's throttle has kept silent
// is found by the looks after the last notification, with neither a poller nor
// another notification.
func TestThrottledMessagesWaitForNobody(t *testing.T) {
	t.Parallel()
	b := start(t, settings{events: `
		deployment_mode = "EventDrivenOnly"
		listener { safety_sweep = "1h" }`})
	// The throttle outlasts the test, so only the first message is announced. Each of
	// the others is sent when the one before has its result, so after its claim.
	b.sql(`SELECT pgmq.enable_notify_insert('a_queue', 3600000)`)
	missed := 0
	for n := 1; n <= 15; n++ {
		b.send("a_queue", `{}`)
		sent := time.Now()
		b.eventually("the message has its result", func() bool {
			// A machine that stalls for half a second outlasts the looks.
			if time.Since(sent) > time.Second {
				missed++
				b.sql(`SELECT pg_notify('pgmq.q_a_queue.INSERT', '')`)
				sent = time.Now()
			}
			return b.count(`SELECT count(*) FROM pgmq.q_results`) >= n
		})
	}
	b.results(15)
	require.Less(t, missed, 5, "nobody looked again after a notification")
}

func TestEventDrivenOnlySweepsWhatNobodyAnnounced(t *testing.T) {
	t.Parallel()
	b := start(t, settings{events: `
		deployment_mode = "EventDrivenOnly"
		listener { safety_sweep = "200ms" }`})
	b.quiet("a_queue")
	b.send("a_queue", `{}`)
	b.results(1)
}

func TestTerminatedListenBackendRecoversAndSweeps(t *testing.T) {
	t.Parallel()
	b := start(t, settings{events: `
		deployment_mode = "EventDrivenOnly"
		listener {
			retry_interval = "10ms"
			safety_sweep   = "1h"
		}`})
	before := b.Status(t.Context()).Listener.Reconnects
	// The message is there, unannounced, before the connection is lost: only the
	// sweep after the reconnect can find it.
	b.quiet("a_queue")
	b.send("a_queue", `{}`)
	require.Equal(t, 1, b.count(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'stephost listen'`))
	b.results(1)
	require.Greater(t, b.Status(t.Context()).Listener.Reconnects, before)
	b.sql(`ALTER TABLE pgmq.q_a_queue ENABLE TRIGGER USER`)
	b.send("a_queue", `{}`)
	b.results(2)
}

func TestRestartedPostgresRecovers(t *testing.T) {
	t.Parallel()
	cluster := devpgtest.Cluster(t, nil)
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, cluster.DSN("postgres"))
	require.NoError(t, err)
	require.NoError(t, fill(ctx, conn))
	require.NoError(t, conn.Close(ctx))
	b := startOn(t, cluster.DSN("postgres"), settings{events: `
		listener { retry_interval = "20ms" }
		fallback_poller { polling_interval = "200ms" }`})
	b.send("a_queue", fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("log"), b.path("go")))
	b.eventually("the handler runs", func() bool { return len(b.runs("log")) == 1 })
	require.NoError(t, cluster.Restart(ctx))
	b.touch("go")
	b.eventually("the database answers again", func() bool { return b.db.Ping(ctx) == nil })
	b.send("a_queue", bodies(20, `{}`)...)
	b.results(21)
	require.Len(t, b.runs("log"), 1, "the step that ran over the restart ran once")
}

func TestKilledPluginRunsTheStepAgainWithOneResult(t *testing.T) {
	t.Parallel()
	b := start(t, settings{plugin: `restart { backoff_initial = "20ms" }`})
	b.send("a_queue", fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("log"), b.path("go")))
	b.eventually("the handler runs", func() bool { return len(b.runs("log")) == 1 })
	require.NoError(t, syscall.Kill(b.runs("log")[0], syscall.SIGKILL))
	b.eventually("it runs again", func() bool { return len(b.runs("log")) == 2 })
	b.touch("go")
	b.results(1)
	pids := b.runs("log")
	require.NotEqual(t, pids[0], pids[1])
	require.Contains(t, b.logs.String(), "killed")
}

func TestTwoHostsShareAQueue(t *testing.T) {
	t.Parallel()
	const messages = 10_000
	s := settings{
		events: `max_concurrent_processors = 400`,
		a:      `concurrency = 200`,
	}
	first := start(t, s)
	second := startOn(t, first.dsn, s)
	first.send("a_queue", bodies(messages, `{}`)...)
	first.results(messages)
	require.Zero(t, first.count(`SELECT count(*) FROM pgmq.q_a_queue`))
	one, two := first.Settled(t.Context(), "a"), second.Settled(t.Context(), "a")
	require.EqualValues(t, messages, one+two)
	require.Positive(t, one)
	require.Positive(t, two)
}

func TestHandlerLongerThanTheVisibilityTimeoutRunsOnce(t *testing.T) {
	t.Parallel()
	b := start(t, settings{events: `fallback_poller {
		visibility_timeout = "1s"
		polling_interval   = "100ms"
	}`})
	b.send("a_queue", fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("log"), b.path("go")))
	b.eventually("three leases went by", func() bool {
		return b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE vt > enqueued_at + interval '4 seconds'`) == 1
	})
	b.touch("go")
	b.results(1)
	require.Len(t, b.runs("log"), 1)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.a_a_queue WHERE read_ct = 1`))
}

func TestPausedNamespaceKeepsItsMessages(t *testing.T) {
	t.Parallel()
	b := start(t, settings{b: `result_queue = "results"`})
	require.NoError(t, b.SetPaused(t.Context(), "a", true))
	b.send("a_queue", `{}`)
	b.send("b_queue", `{}`)
	b.results(1) // b is not disturbed
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE read_ct = 0`))
	require.NoError(t, b.SetPaused(t.Context(), "a", false))
	b.results(2)
}

func TestModeSwitchUnderLoad(t *testing.T) {
	t.Parallel()
	b := start(t, settings{events: `fallback_poller { polling_interval = "50ms" }`})
	const messages = 2000
	var producer sync.WaitGroup
	producer.Go(func() {
		for range messages / 10 {
			b.send("a_queue", bodies(10, `{}`)...)
		}
	})
	for i := range 12 {
		mode := eventsystem.Modes()[i%3]
		require.NoError(t, b.SetMode(t.Context(), mode))
		require.Equal(t, mode, b.Status(t.Context()).Mode)
	}
	producer.Wait()
	b.results(messages)
	require.Equal(t, messages, b.count(`SELECT count(*) FROM pgmq.a_a_queue WHERE read_ct = 1`))
}

func TestDrainUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	s := settings{host: `shutdown {
		drain_timeout = "1s"
		kill_timeout  = "500ms"
	}`}
	b := start(t, s)
	stuck := fmt.Sprintf(`{"until": %q, "regardless": true}`, b.path("never"))
	obedient := fmt.Sprintf(`{"until": %q}`, b.path("never"))
	b.send("a_queue", stuck, obedient)
	b.send("a_queue", bodies(2000, `{}`)...)
	b.eventually("the load runs", func() bool { return b.Settled(t.Context(), "a") > 100 })
	b.drained()
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE vt > clock_timestamp()`), "another host can take everything at once")
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE headers->'stephost' ? 'failures'`), "at no cost")
	b.touch("never")
	second := startOn(t, b.dsn, s)
	require.NotNil(t, second)
	b.results(2002)
}

func TestNoTimeToKillIsNoErrorOfTheDrain(t *testing.T) {
	t.Parallel()
	b := start(t, settings{host: "shutdown {\n kill_timeout = \"0s\"\n }"})
	b.drained()
}

func TestQueueCreatedAfterTheStart(t *testing.T) {
	t.Parallel()
	b := start(t, settings{more: `
		namespace "late" {
			plugin       = "test"
			result_queue = "results"
		}`, events: `fallback_poller { polling_interval = "100ms" }`})
	b.sql(`SELECT pgmq.create('late_queue')`)
	b.send("late_queue", `{}`)
	b.results(1)
}

func TestTwoHundredNamespacesShareOneListenConnection(t *testing.T) {
	t.Parallel()
	const namespaces = 200
	var more strings.Builder
	for i := range namespaces {
		fmt.Fprintf(&more, "namespace \"n%d\" {\n plugin = \"test\"\n result_queue = \"results\"\n}\n", i)
	}
	dsn := newDatabase(t)
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	for i := range namespaces { // one transaction each: creating takes many locks
		_, err = conn.Exec(ctx, `SELECT pgmq.create($1::text)`, fmt.Sprintf("n%d_queue", i))
		require.NoError(t, err)
	}
	require.NoError(t, conn.Close(ctx))
	b := startOn(t, dsn, settings{
		more:  more.String(),
		queue: "pool {\n max_connections = 6\n }",
	})
	b.sql(`SELECT pgmq.send('n' || n || '_queue', '{}'::jsonb) FROM generate_series(0, $1::int - 1) n`, namespaces)
	b.results(namespaces)
	mine := `datname = current_database() AND application_name LIKE 'stephost%'`
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stephost listen' AND `+mine))
	require.LessOrEqual(t, b.count(`SELECT count(*) FROM pg_stat_activity WHERE `+mine), 7)
}

func TestEmittedMessageReachesTheNextNamespace(t *testing.T) {
	t.Parallel()
	b := start(t, settings{b: `result_queue = "results"`})
	b.send("a_queue", `{"next": "b"}`)
	b.results(2)
}

func TestPanicIsAFailedStepAndNotADeadPlugin(t *testing.T) {
	t.Parallel()
	b := start(t, settings{a: "retry {\n max_attempts = 1\n }"})
	pid := b.Status(t.Context()).Plugins[0].Instances[0].PID
	b.send("a_queue", `{"panic": true}`)
	b.results(1)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE headers->'stephost'->'errors'->0->>'stack' LIKE '%testplugin%'`))
	require.Equal(t, pid, b.Status(t.Context()).Plugins[0].Instances[0].PID)
}

func TestPluginRefusesItsConfigAtTheLineInTheFile(t *testing.T) {
	t.Parallel()
	b := build(t, newDatabase(t), settings{plugin: "config {\n refuse = true\n }"})
	b.run()
	b.eventually("the refusal is reported", func() bool {
		plugins := b.Status(context.Background()).Plugins
		if len(plugins) == 0 || len(plugins[0].Instances) == 0 {
			return false
		}
		last := plugins[0].Instances[0].LastError
		return strings.Contains(last, "test.hcl:") && strings.Contains(last, "refused as asked")
	})
	b.send("a_queue", `{}`)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE read_ct = 0`))
}

func TestMessageThatCrashesThePluginAloneIsDeadLettered(t *testing.T) {
	t.Parallel()
	b := start(t, settings{
		plugin: "restart {\n backoff_initial = \"10ms\"\n }",
		a:      "retry {\n max_crashes = 2\n }",
	})
	b.send("a_queue", fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("log"), b.path("never")))
	for n := range 2 {
		b.eventually("the handler runs", func() bool { return len(b.runs("log")) == n+1 })
		require.NoError(t, syscall.Kill(b.runs("log")[n], syscall.SIGKILL))
	}
	b.results(1)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE headers->'stephost'->'dead'->>'reason' = 'crashes'`))
	b.send("a_queue", `{}`)
	b.results(2)
}
