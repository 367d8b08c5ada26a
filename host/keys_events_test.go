package host_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/host/admin"
)

func eventSystemKeyTests() map[string]keyTest {
	return map[string]keyTest{
		"event_system.system_id":                          testSystemID,
		"event_system.deployment_mode":                    testDeploymentMode,
		"event_system.health_monitoring_enabled":          testHealthMonitoring,
		"event_system.health_check_interval":              testHealthCheckInterval,
		"event_system.max_concurrent_processors":          testMaxConcurrentProcessors,
		"event_system.processing_timeout":                 testProcessingTimeout,
		"event_system.listener.enabled":                   testListenerEnabled,
		"event_system.listener.batch_processing":          testBatchProcessing,
		"event_system.listener.connection_timeout":        testConnectionTimeout,
		"event_system.listener.retry_interval":            testRetryInterval,
		"event_system.listener.safety_sweep":              testSafetySweep,
		"event_system.fallback_poller.enabled":            testPollerEnabled,
		"event_system.fallback_poller.polling_interval":   testPollingInterval,
		"event_system.fallback_poller.batch_size":         testBatchSize,
		"event_system.fallback_poller.visibility_timeout": testVisibilityTimeout,
	}
}

func testSystemID(t *testing.T, key string) {
	b := startConfigured(t, conf{key: `"events-of-mine"`})
	_, body := b.get("/status", "")
	var status admin.Status
	require.NoError(t, json.Unmarshal([]byte(body), &status))
	require.Equal(t, "events-of-mine", status.Events.SystemID)
	require.Contains(t, b.logs.String(), "event system started: id=events-of-mine")
}

func testDeploymentMode(t *testing.T, key string) {
	for _, mode := range eventsystem.Modes() {
		b := startConfigured(t, conf{key: strconv.Quote(mode.String())})
		status := b.Status(t.Context())
		require.Equal(t, mode, status.Mode)
		require.Equal(t, mode.HasEventDriven(), status.Listener.Connected, mode)
		require.Equal(t, mode.HasPolling(), status.Poller.Running, mode)
	}
}

// ailing is a host that looks into its queues all the time, with a queue that
// comes and goes.
func ailing(t *testing.T, c conf) (b *bundle, toggle func()) {
	t.Helper()
	b = startConfigured(t, conf{
		"event_system.fallback_poller.polling_interval": `"20ms"`,
		// Slow events are an ailment too.
		"event_system.processing_timeout": `"1h"`,
	}.with(c))
	missing := false
	return b, func() {
		missing = !missing
		if missing {
			b.sql(`SELECT pgmq.drop_queue('b_queue')`)
		} else {
			b.sql(`SELECT pgmq.create('b_queue')`)
		}
	}
}

// lastHealth is what the monitor logged last.
func (b *bundle) lastHealth() (last string) {
	for line := range strings.Lines(b.logs.String()) {
		if strings.Contains(line, "health changed") || strings.Contains(line, "healthy again") {
			last = line
		}
	}
	return last
}

func testHealthMonitoring(t *testing.T, key string) {
	const interval = "event_system.health_check_interval"
	b, toggle := ailing(t, conf{key: "false", interval: `"10ms"`})
	toggle()
	b.eventually("the health that is asked for tells", func() bool {
		return strings.Contains(fmt.Sprint(b.Status(t.Context()).Health.Reasons), "b_queue")
	})
	polls := b.Status(t.Context()).Poller.Polls
	b.eventually("time goes by", func() bool { return b.Status(t.Context()).Poller.Polls > polls+20 })
	require.Empty(t, b.lastHealth())

	b, toggle = ailing(t, conf{key: "true", interval: `"10ms"`})
	toggle()
	b.eventually("the monitor tells", func() bool { return strings.Contains(b.lastHealth(), "b_queue") })
}

// testHealthCheckInterval needs more checks than the default makes in time.
func testHealthCheckInterval(t *testing.T, key string) {
	b, toggle := ailing(t, conf{key: `"10ms"`})
	toggles := 0
	b.eventually("the monitor sees each change", func() bool {
		missing := strings.Contains(b.lastHealth(), "b_queue")
		if missing != (toggles%2 == 1) {
			return false
		}
		toggle()
		toggles++
		return toggles == 7
	})
}

func testMaxConcurrentProcessors(t *testing.T, key string) {
	alone := startConfigured(t, conf{key: "1"})
	alone.send("a_queue", bodies(20, `{"about": true}`)...)
	alone.send("b_queue", bodies(20, `{"about": true}`)...)
	for _, r := range alone.reports(40) {
		require.Equal(t, 1, r.Running)
	}
	many := startConfigured(t, conf{})
	many.send("a_queue", bodies(3, many.waiting())...)
	many.send("b_queue", bodies(3, many.waiting())...)
	many.eventually("all run at once", func() bool { return len(many.runs("log")) == 6 })
	many.touch("go")
}

func testProcessingTimeout(t *testing.T, key string) {
	for timeout, late := range map[string]bool{`"1ns"`: true, `"1h"`: false} {
		b := startConfigured(t, conf{key: timeout})
		b.quiesced()
		b.send("a_queue", `{}`)
		b.results(1)
		events := b.Status(t.Context()).Events
		if late {
			require.Positive(t, events.Failed)
			require.Zero(t, events.Processed)
		} else {
			require.Zero(t, events.Failed)
			require.Positive(t, events.Processed)
		}
	}
}

func testListenerEnabled(t *testing.T, key string) {
	c := conf{"event_system.deployment_mode": `"PollingOnly"`}
	require.ErrorContains(t, startConfigured(t, c.with(conf{key: "false"})).SetMode(t.Context(), eventsystem.Hybrid), "listener.enabled = false")
	require.NoError(t, startConfigured(t, c).SetMode(t.Context(), eventsystem.Hybrid))
}

func testPollerEnabled(t *testing.T, key string) {
	c := conf{"event_system.deployment_mode": `"EventDrivenOnly"`}
	require.ErrorContains(t, startConfigured(t, c.with(conf{key: "false"})).SetMode(t.Context(), eventsystem.Hybrid), "fallback_poller.enabled = false")
	require.NoError(t, startConfigured(t, c).SetMode(t.Context(), eventsystem.Hybrid))
}

// claimsOneByOne works messages that are all there at once and tells whether
// no claim took more than one.
func claimsOneByOne(t *testing.T, c conf) bool {
	b := startConfigured(t, c)
	require.NoError(t, b.SetPaused(t.Context(), "a", true))
	b.send("a_queue", bodies(20, `{}`)...)
	require.NoError(t, b.SetPaused(t.Context(), "a", false))
	b.results(20)
	seen := b.metrics()
	return seen[`stephost_claim_messages_bucket{namespace="a",le="1"}`] == seen[`stephost_claim_messages_count{namespace="a"}`]
}

func testBatchProcessing(t *testing.T, key string) {
	require.True(t, claimsOneByOne(t, conf{key: "false"}))
	require.False(t, claimsOneByOne(t, conf{key: "true"}))
}

func testBatchSize(t *testing.T, key string) {
	require.True(t, claimsOneByOne(t, conf{key: "1"}))
	require.False(t, claimsOneByOne(t, conf{}))
}

// server accepts connections, has each one handled and counts them.
func server(t *testing.T, handle func(net.Conn)) (dsn string, accepted *atomic.Int64) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	accepted = new(atomic.Int64)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			running.Go(func() {
				defer func() { _ = conn.Close() }()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return fmt.Sprintf("postgres://nobody@%s/none?sslmode=disable", listener.Addr()), accepted
}

// testConnectionTimeout listens at a server that never answers, more often
// than the default would get round to in time.
func testConnectionTimeout(t *testing.T, key string) {
	dsn, accepted := server(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	b := runConfigured(t, newDatabase(t), conf{
		key:                                    `"500ms"`,
		"queue.listen_dsn":                     strconv.Quote(dsn),
		"event_system.listener.retry_interval": `"1ms"`,
	})
	b.eventually("the connection is given up again and again", func() bool { return accepted.Load() >= 8 })
	require.Contains(t, b.Status(t.Context()).Listener.LastError, "no answer in time")
}

// testRetryInterval does the same at a server that hangs up.
func testRetryInterval(t *testing.T, key string) {
	dsn, accepted := server(t, func(net.Conn) {})
	b := runConfigured(t, newDatabase(t), conf{key: `"1ms"`, "queue.listen_dsn": strconv.Quote(dsn)})
	b.eventually("the listener tries again and again", func() bool { return accepted.Load() >= 10 })
}

func testSafetySweep(t *testing.T, key string) {
	b := startConfigured(t, conf{key: `"20ms"`, "event_system.deployment_mode": `"EventDrivenOnly"`})
	b.eventually("the queues are swept again and again", func() bool { return b.metrics()["stephost_poller_polls_total"] >= 20 })
}

func testPollingInterval(t *testing.T, key string) {
	b := startConfigured(t, conf{key: `"20ms"`})
	b.eventually("the queues are polled again and again", func() bool { return b.Status(t.Context()).Poller.Polls >= 20 })
}

func testVisibilityTimeout(t *testing.T, key string) {
	for lease, long := range map[string]int{`"1h"`: 1, `"30s"`: 0} {
		b := startConfigured(t, conf{key: lease})
		b.send("a_queue", b.waiting())
		b.eventually("the handler runs", func() bool { return len(b.runs("log")) == 1 })
		require.Equal(t, long, b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE vt > clock_timestamp() + interval '10 minutes'`), lease)
		b.touch("go")
	}
}
