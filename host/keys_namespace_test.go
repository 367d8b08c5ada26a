package host_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func namespaceKeyTests() map[string]keyTest {
	return map[string]keyTest{
		"namespace.plugin":       testNamespacePlugin,
		"namespace.queue":        testNamespaceQueue,
		"namespace.concurrency":  testConcurrency,
		"namespace.timeout":      testTimeout,
		"namespace.step_key":     testStepKey,
		"namespace.result_queue": testResultQueue,
		"namespace.dead_letter":  testDeadLetter,
	}
}

func testNamespacePlugin(t *testing.T, key string) {
	command, err := testPlugin()
	require.NoError(t, err)
	c := conf{"plugin:other.command": strconv.Quote(command), "plugin:other.args": `["other"]`}
	require.Equal(t, []string{"other"}, reportOf(t, c.with(conf{key: `"other"`})).Args)
	require.Empty(t, reportOf(t, c).Args)
}

func testNamespaceQueue(t *testing.T, key string) {
	b := startConfigured(t, conf{key: `"errands"`}, "errands")
	b.send("a_queue", `{}`)
	b.send("errands", `{}`)
	b.results(1)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE read_ct = 0`))
}

func testConcurrency(t *testing.T, key string) {
	alone := startConfigured(t, conf{key: "1"})
	alone.send("a_queue", bodies(20, `{"about": true}`)...)
	for _, r := range alone.reports(20) {
		require.Equal(t, 1, r.Running)
	}
	many := startConfigured(t, conf{})
	many.send("a_queue", bodies(5, many.waiting())...)
	many.eventually("all run at once", func() bool { return len(many.runs("log")) == 5 })
	many.touch("go")
}

func testTimeout(t *testing.T, key string) {
	require.Nil(t, reportOf(t, conf{key: `"0s"`}).Left)
	long := reportOf(t, conf{key: `"10h"`}).Left
	require.NotNil(t, long)
	require.Greater(t, *long, (5 * time.Hour).Seconds())

	// It ends the handler, more often than the default does in time.
	b := startConfigured(t, conf{
		key:                            `"20ms"`,
		"namespace.retry.initial":      `"1ms"`,
		"namespace.retry.max_attempts": "5",
	})
	b.send("a_queue", fmt.Sprintf(`{"until": %q}`, b.path("never")))
	b.results(1)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE headers->'stephost'->'dead'->>'error' LIKE '%timed out%'`))
}

func testStepKey(t *testing.T, key string) {
	b := startConfigured(t, conf{key: `"task"`, "namespace.retry.max_attempts": "1"})
	b.send("a_queue", `{"step": "unheard of"}`, `{"task": "unheard of"}`, `{"task": "work"}`)
	b.results(3)
	require.Equal(t, 2, b.count(`SELECT count(*) FROM pgmq.a_a_queue`))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE message ? 'task' AND headers->'stephost'->'dead'->>'reason' = 'unknown_step'`))
}

func testResultQueue(t *testing.T, key string) {
	b := startConfigured(t, conf{key: `"outcomes"`}, "outcomes")
	b.send("a_queue", `{}`)
	b.eventually("the result is there", func() bool { return b.count(`SELECT count(*) FROM pgmq.q_outcomes`) == 1 })
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_results`))

	none := startConfigured(t, conf{key: "null"})
	none.send("a_queue", `{}`)
	none.eventually("the message is settled", func() bool { return none.Settled(t.Context(), "a") == 1 })
	require.Zero(t, none.count(`SELECT count(*) FROM pgmq.q_results`))
}

func testDeadLetter(t *testing.T, key string) {
	b := startConfigured(t, conf{key: `"{namespace}_graveyard"`}, "a_graveyard")
	b.send("a_queue", `{"fail": "as asked", "permanent": true}`)
	b.results(1)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_graveyard`))
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_a_dead`))
}
