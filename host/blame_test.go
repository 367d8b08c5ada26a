package host_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/admin"
)

// quick restarts the plugin without delay.
const quick = `restart { backoff_initial = "1ms" }`

// probation is the place where suspects run, or nil before it was needed.
func (b *bundle) probation() *admin.Instance {
	b.t.Helper()
	for _, i := range b.plugin().Instances {
		if i.Probation {
			return &i
		}
	}
	return nil
}

// poison is the body of a message that ends the process once the file "armed"
// is there.
func (b *bundle) poison(log string) string {
	return fmt.Sprintf(`{"exit": true, "log": %q, "until": %q}`, b.path(log), b.path("armed"))
}

// innocents are bodies of messages whose handlers note their start in the file
// "innocents" and wait for the file "go".
func (b *bundle) innocents(n int) []string {
	return bodies(n, fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("innocents"), b.path("go")))
}

// spentNothing checks the results of n messages of namespace a that have
// succeeded, and what is known of them after that.
func (b *bundle) spentNothing(n int) {
	b.t.Helper()
	require.Equal(b.t, n, b.count(`SELECT count(*) FROM pgmq.q_results WHERE message->>'success' = 'true' AND message->>'attempt' = '1'`))
	require.Equal(b.t, n, b.count(`SELECT count(*) FROM pgmq.a_a_queue WHERE NOT coalesce(headers->'stephost' ?| ARRAY['failures', 'crashes'], false)`))
	require.Equal(b.t, n, b.count(`SELECT count(*) FROM pgmq.a_a_queue WHERE read_ct - coalesce((headers->'stephost'->>'accounted')::int, 0) = 1`), "no delivery counts towards max_deliveries")
}

// convicted checks that n messages of namespace a are in the dead letters for
// their crashes while they ran alone.
func (b *bundle) convicted(n, crashes int) {
	b.t.Helper()
	require.Equal(b.t, n, b.count(`SELECT count(*) FROM pgmq.q_a_dead`))
	require.Equal(b.t, n, b.count(`
		SELECT count(*) FROM pgmq.q_a_dead
		WHERE headers->'stephost'->'dead'->>'reason' = 'crashes'
		AND (headers->'stephost'->>'crashes')::int = $1 AND NOT headers->'stephost' ? 'failures'
		AND headers->'stephost'->'errors'->-1->>'stack' LIKE '%panic: as asked%goroutine % [running]%main.exit%'`, crashes), "with the crash report")
}

func TestPoisonAmongFiftyIsFoundAndTheOthersSpendNothing(t *testing.T) {
	t.Parallel()
	b := start(t, settings{plugin: quick, a: `concurrency = 60`})
	b.send("a_queue", b.innocents(25)...)
	b.send("a_queue", b.poison("poison"))
	b.send("a_queue", b.innocents(25)...)
	b.eventually("all run", func() bool { return len(b.runs("innocents"))+len(b.runs("poison")) == 51 })
	b.touch("armed")
	b.eventually("the first group is in probation", func() bool {
		p := b.probation()
		return p != nil && p.InFlight > 0
	})

	// Whether the group has crashed by now or not: the rest of the namespace goes
	// on while every innocent suspect waits.
	b.send("a_queue", bodies(20, `{}`)...)
	b.eventually("other messages complete", func() bool { return b.count(`SELECT count(*) FROM pgmq.q_results`) >= 20 })
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_a_dead`))

	b.touch("go")
	b.results(71)
	b.spentNothing(70)
	b.convicted(1, 3)

	// It ran alone when it was convicted, in processes that had run nothing else.
	poison, others := b.runs("poison"), b.runs("innocents")
	for _, pid := range poison[len(poison)-3:] {
		require.NotContains(t, others, pid)
	}
	last := slices.Clone(poison[len(poison)-3:])
	slices.Sort(last)
	require.Len(t, slices.Compact(last), 3)
	require.LessOrEqual(t, len(poison), 6, "with all, with 16, with 4, three times alone")
	require.NotContains(t, b.logs.String(), "tripped=true")
	require.Equal(t, 1, b.plugin().Instances[0].Restarts, "the crashes in probation did not touch the plugin's own process")
}

func TestTwoPoisonsAreFound(t *testing.T) {
	t.Parallel()
	b := start(t, settings{plugin: quick, a: `concurrency = 60`})
	b.touch("go")
	b.send("a_queue", b.poison("poison"), b.poison("poison"))
	b.send("a_queue", bodies(20, fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("innocents"), b.path("armed")))...)
	b.eventually("all run", func() bool { return len(b.runs("innocents"))+len(b.runs("poison")) == 22 })
	b.touch("armed")
	b.results(22)
	b.convicted(2, 3)
	b.spentNothing(20)
}

func TestCrashOfNobodysDoingClearsEveryone(t *testing.T) {
	t.Parallel()
	b := start(t, settings{plugin: quick, a: `concurrency = 60`, events: `fallback_poller {
		visibility_timeout = "1s"
		polling_interval   = "100ms"
	}`})
	b.send("a_queue", b.innocents(50)...)
	b.eventually("all run", func() bool { return len(b.runs("innocents")) == 50 })
	require.NoError(t, syscall.Kill(b.runs("innocents")[0], syscall.SIGKILL))
	b.eventually("they run again, apart", func() bool { return len(b.runs("innocents")) > 50 })
	b.eventually("all others wait", func() bool { return b.namespace("a").Suspects == 50 })
	b.eventually("for longer than a lease", func() bool {
		return b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE vt > enqueued_at + interval '4 seconds'`) == 50
	})
	b.touch("go")
	b.results(50)
	b.spentNothing(50)
	require.Len(t, b.runs("innocents"), 100)
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_a_dead`))
}

func TestTwoHostsSearchForTheSamePoison(t *testing.T) {
	t.Parallel()
	s := settings{plugin: quick, a: `concurrency = 30`}
	first := start(t, s)
	second := startOn(t, first.dsn, s)
	first.send("a_queue", bodies(40, fmt.Sprintf(`{"log": %q, "until": %q}`, first.path("innocents"), first.path("armed")))...)
	first.send("a_queue", first.poison("poison"))
	first.eventually("all run", func() bool { return len(first.runs("innocents"))+len(first.runs("poison")) == 41 })
	first.touch("armed")
	first.results(41)
	first.convicted(1, 3)
	first.spentNothing(40)
	require.EqualValues(t, 40, first.Settled(t.Context(), "a")+second.Settled(t.Context(), "a"))
}

func TestSearchGoesOnWhereAnotherHostEnded(t *testing.T) {
	t.Parallel()
	s := settings{plugin: quick, a: `concurrency = 60`}
	b := start(t, s)
	b.send("a_queue", b.innocents(30)...)
	b.send("a_queue", b.poison("poison"))
	b.eventually("all run", func() bool { return len(b.runs("innocents"))+len(b.runs("poison")) == 31 })
	// The poison waits with the others in probation, for it is not armed.
	require.NoError(t, syscall.Kill(b.plugin().Instances[0].PID, syscall.SIGKILL))
	b.eventually("a group is in probation", func() bool { p := b.probation(); return p != nil && p.InFlight == 16 })
	require.Equal(t, 31, b.namespace("a").Suspects)
	b.stop()
	b.eventually("only the group is left", func() bool { return b.namespace("a").Suspects == 16 })
	b.touch("go") // the drain waits for it
	b.drained()
	require.Equal(t, 15, b.count(`SELECT count(*) FROM pgmq.q_a_queue`))
	require.Equal(t, 15, b.count(`
		SELECT count(*) FROM pgmq.q_a_queue WHERE vt <= clock_timestamp()
		AND (headers->'stephost'->>'suspicion')::int >= 1 AND (headers->'stephost'->>'accounted')::int = read_ct`),
		"another host can take them at once, and knows what they are")
	b.touch("armed")
	second := startOn(t, b.dsn, s)
	second.results(31)
	b.spentNothing(30)
	b.convicted(1, 3)
}

func TestNamespacesShareTheProbation(t *testing.T) {
	t.Parallel()
	b := start(t, settings{plugin: quick, a: `concurrency = 30`, b: `result_queue = "results"`})
	inBoth := bodies(20, fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("innocents"), b.path("armed")))
	b.send("a_queue", inBoth...)
	b.send("b_queue", inBoth...)
	b.send("a_queue", b.poison("poison"))
	b.eventually("all run", func() bool { return len(b.runs("innocents"))+len(b.runs("poison")) == 41 })
	b.touch("armed")
	b.results(41)
	b.convicted(1, 3)
	require.Equal(t, 40, b.count(`SELECT count(*) FROM pgmq.q_results WHERE message->>'success' = 'true' AND message->>'attempt' = '1'`))
	require.Equal(t, 20, b.count(`SELECT count(*) FROM pgmq.a_b_queue WHERE NOT coalesce(headers->'stephost' ?| ARRAY['failures', 'crashes'], false)`))
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_b_dead`))
}

func TestSwapInTheMiddleOfProbation(t *testing.T) {
	t.Parallel()
	b := start(t, settings{plugin: quick, b: `result_queue = "results"`})
	b.send("a_queue", b.innocents(20)...)
	b.send("b_queue", b.innocents(20)...)
	b.eventually("all run", func() bool { return len(b.runs("innocents")) == 40 })
	require.NoError(t, syscall.Kill(b.plugin().Instances[0].PID, syscall.SIGKILL))
	b.eventually("one namespace has its turn", func() bool { return len(b.runs("innocents")) == 56 })
	b.eventually("the other one waits", func() bool { return b.namespace("a").Suspects+b.namespace("b").Suspects == 40 })
	_, err := b.ReloadPlugin(t.Context(), "test")
	require.NoError(t, err)
	b.eventually("it has its turn with the new generation", func() bool { return len(b.runs("innocents")) == 72 })
	b.touch("go")
	b.results(40)
	require.Equal(t, 40, b.count(`SELECT count(*) FROM pgmq.q_results WHERE message->>'success' = 'true' AND message->>'attempt' = '1'`))
	require.Len(t, b.runs("innocents"), 80, "each ran once in the crash and once apart")
	require.Equal(t, 40, b.count(`SELECT count(*) FROM (SELECT * FROM pgmq.a_a_queue UNION ALL SELECT * FROM pgmq.a_b_queue) m WHERE read_ct = 3`), "who was refused by the old generation was not given back")
}

func TestPluginWithAnExclusiveResourceRunsSuspectsInItsOnlyProcess(t *testing.T) {
	t.Parallel()
	b := start(t, settings{a: `concurrency = 60`, plugin: `
		swap = "stop_first"
		restart {
			backoff_initial = "1ms"
			max_crashes     = 2
		}`})
	b.send("a_queue", b.poison("poison"))
	b.send("a_queue", bodies(20, fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("innocents"), b.path("armed")))...)
	b.send("b_queue", bodies(2, fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("innocents"), b.path("armed")))...)
	b.eventually("all run", func() bool { return len(b.runs("innocents"))+len(b.runs("poison")) == 23 })
	b.touch("armed")
	b.results(21)
	b.convicted(1, 3)
	b.spentNothing(20)
	b.eventually("the other namespace is done, too", func() bool { return b.count(`SELECT count(*) FROM pgmq.a_b_queue`) == 2 })
	require.Nil(t, b.probation(), "there was no second process")
	require.NotContains(t, b.logs.String(), "tripped=true", "the crashes of suspects do not count in the breaker")
	require.Contains(t, b.logs.String(), "suspects of a crash run alone")
	b.eventually("the plugin serves again", func() bool { return b.plugin().State == "ready" })
}

func TestPluginListShowsTheProbation(t *testing.T) {
	t.Parallel()
	b := start(t, settings{plugin: quick})
	require.Nil(t, b.probation())
	b.touch("armed")
	b.send("a_queue", b.poison("poison"))
	b.results(1)
	p := b.probation()
	require.NotNil(t, p)
	require.Equal(t, 1, p.Index)
	require.Positive(t, p.Restarts)
	require.True(t, strings.Contains(p.LastError, "crashed: exit status 2: panic: as asked"), p.LastError)
}

func TestPluginThatCrashesWithEverythingTripsAndNobodyIsConvicted(t *testing.T) {
	t.Parallel()
	b := start(t, settings{plugin: quick, a: `concurrency = 60`})
	for range 8 {
		b.send("a_queue", b.poison("poison"))
	}
	b.eventually("all run", func() bool { return len(b.runs("poison")) == 8 })
	b.touch("armed")
	b.eventually("the plugin has tripped", func() bool { return b.plugin().State == "tripped" })
	require.Contains(t, b.plugin().Reason, "5 different messages in a row have crashed it")
	require.False(t, b.plugin().NextAttempt.IsZero())
	b.eventually("all are back in the queue", func() bool {
		return b.namespace("a").Suspects == 0 && b.namespace("a").Settling == 0
	})
	require.Equal(t, 8, b.count(`SELECT count(*) FROM pgmq.q_a_queue`))
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_results`))
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_a_dead`))
}
