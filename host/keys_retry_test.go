package host_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func retryKeyTests() map[string]keyTest {
	return map[string]keyTest{
		"namespace.retry.max_attempts":   testMaxAttempts,
		"namespace.retry.max_deliveries": testMaxDeliveries,
		"namespace.retry.max_crashes":    testNamespaceMaxCrashes,
		"namespace.retry.backoff":        testBackoff,
		"namespace.retry.initial":        testInitial,
		"namespace.retry.max":            testMax,
		"namespace.retry.jitter":         testJitter,
	}
}

func testMaxAttempts(t *testing.T, key string) {
	for _, attempts := range []int{1, 3} {
		b := startConfigured(t, conf{key: fmt.Sprint(attempts), "namespace.retry.initial": `"1ms"`})
		b.send("a_queue", fmt.Sprintf(`{"log": %q, "fail": "as asked"}`, b.path("log")))
		b.results(1)
		require.Len(t, b.runs("log"), attempts)
		require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE headers->'stephost'->'dead'->>'reason' = 'attempts_spent'`))
	}
}

// crashing is a host whose plugin ends whenever it runs a certain message of
// namespace a.
func crashing(t *testing.T, c conf) *bundle {
	t.Helper()
	b := startConfigured(t, conf{
		"plugin.restart.backoff_initial": `"1ms"`,
		"plugin.restart.backoff_max":     `"1ms"`,
		"plugin.restart.max_crashes":     "1000",
	}.with(c))
	b.send("a_queue", fmt.Sprintf(`{"log": %q, "exit": true}`, b.path("log")))
	return b
}

// testMaxDeliveries has somebody take a message again and again who never
// settles it, as a host that dies does.
func testMaxDeliveries(t *testing.T, key string) {
	for _, deliveries := range []int{1, 3} {
		dsn := newDatabase(t)
		execute(t, dsn, `SELECT pgmq.send('a_queue', '{}')`)
		execute(t, dsn, `SELECT pgmq.read('a_queue', 0, 1)`)
		execute(t, dsn, `SELECT pgmq.send('a_queue', '{}')`)
		for range deliveries - 1 {
			execute(t, dsn, `SELECT pgmq.read('a_queue', 0, 2)`)
		}
		b := runConfigured(t, dsn, conf{key: fmt.Sprint(deliveries)})
		b.results(2)
		require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE headers->'stephost'->'dead'->>'reason' = 'deliveries_spent'`))
		require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.a_a_queue`), "one delivery fewer is not too many")
	}
}

func testNamespaceMaxCrashes(t *testing.T, key string) {
	for _, crashes := range []int{1, 2} {
		b := crashing(t, conf{key: fmt.Sprint(crashes)})
		b.results(1)
		require.Len(t, b.runs("log"), crashes)
		require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE headers->'stephost'->'dead'->>'reason' = 'crashes'`))
	}
}

// delays has a step fail n times and returns how long, by the database's
// clock, the message is hidden after each failure, in thousands of seconds and
// rounded up: what the test takes does not count.
func delays(t *testing.T, c conf, n int) []int {
	t.Helper()
	b := startConfigured(t, conf{
		"namespace.retry.initial":                       `"1000s"`,
		"namespace.retry.max":                           `"10h"`,
		"namespace.retry.jitter":                        "0",
		"event_system.fallback_poller.polling_interval": `"50ms"`,
	}.with(c))
	b.send("a_queue", `{"fail": "as asked"}`)
	list := make([]int, 0, n)
	for failures := 1; failures <= n; failures++ {
		b.eventually("the step fails", func() bool {
			return b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE (headers->'stephost'->>'failures')::int = $1`, failures) == 1
		})
		list = append(list, b.count(`SELECT ceil(extract(epoch FROM vt - clock_timestamp()) / 1000)::int FROM pgmq.q_a_queue`))
		b.sql(`UPDATE pgmq.q_a_queue SET vt = clock_timestamp()`)
	}
	return list
}

func testBackoff(t *testing.T, key string) {
	for shape, want := range map[string][]int{
		`"exponential"`: {1, 2, 4},
		`"linear"`:      {1, 2, 3},
		`"fixed"`:       {1, 1, 1},
	} {
		require.Equal(t, want, delays(t, conf{key: shape}, 3), shape)
	}
}

func testInitial(t *testing.T, key string) {
	require.Equal(t, []int{1}, delays(t, conf{key: `"1000s"`}, 1))
	require.Equal(t, []int{5}, delays(t, conf{key: `"5000s"`}, 1))
}

func testMax(t *testing.T, key string) {
	require.Equal(t, []int{1, 2, 3}, delays(t, conf{key: `"3000s"`}, 3))
	require.Equal(t, []int{1, 2, 4}, delays(t, conf{key: `"5000s"`}, 3))
}

func testJitter(t *testing.T, key string) {
	const messages = 30
	spread := func(jitter string) int {
		b := startConfigured(t, conf{
			key:                       jitter,
			"namespace.retry.initial": `"1000s"`,
			"namespace.retry.max":     `"1000s"`,
		})
		b.send("a_queue", bodies(messages, `{"fail": "as asked"}`)...)
		b.eventually("all have failed", func() bool {
			return b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE headers->'stephost' ? 'failures'`) == messages
		})
		return b.count(`SELECT extract(epoch FROM max(vt) - min(vt))::int FROM pgmq.q_a_queue`)
	}
	require.Greater(t, spread("1"), 400, "each delay is anything from nothing to twice as long")
	require.Less(t, spread("0"), 200)
}
