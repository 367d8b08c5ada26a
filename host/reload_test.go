package host_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/supervisor"
)

// reconfigure makes the file say these settings and reloads it.
func (b *bundle) reconfigure(s settings) (admin.Reload, error) {
	b.t.Helper()
	plugin, err := testPlugin()
	require.NoError(b.t, err)
	b.write(s.file(b.dsn, plugin))
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	return b.Reload(ctx)
}

func (b *bundle) reconfigured(s settings) admin.Reload {
	b.t.Helper()
	report, err := b.reconfigure(s)
	if invalid := (*admin.InvalidConfigError)(nil); errors.As(err, &invalid) {
		b.t.Fatal(invalid.Diagnostics)
	}
	require.NoError(b.t, err)
	return report
}

// refused reloads settings that are not good and returns the diagnostics.
func (b *bundle) refused(s settings) string {
	b.t.Helper()
	_, err := b.reconfigure(s)
	var invalid *admin.InvalidConfigError
	require.ErrorAs(b.t, err, &invalid)
	require.Contains(b.t, invalid.Reason, "nothing has changed")
	return invalid.Diagnostics
}

// thirdNamespace is a block for settings.more.
const thirdNamespace = `
namespace "c" {
  plugin       = "test"
  result_queue = "results"
}`

func TestReloadOfAnUnchangedFileDoesNothing(t *testing.T) {
	t.Parallel()
	b := start(t, settings{})
	pid := b.plugin().Instances[0].PID
	report := b.reconfigured(settings{more: "# a comment"})
	require.False(t, report.Changed)
	require.Empty(t, report.Warnings)
	require.Equal(t, pid, b.plugin().Instances[0].PID)
}

func TestReloadChangesConcurrency(t *testing.T) {
	t.Parallel()
	b := start(t, settings{a: `concurrency = 1`})
	b.send("a_queue", bodies(4, b.waiting())...)
	b.eventually("one runs", func() bool { return len(b.runs("log")) == 1 })
	report := b.reconfigured(settings{a: `concurrency = 4`})
	require.Equal(t, []admin.Member{{Name: "a", Keys: []admin.Change{{
		Key: "namespace.a.concurrency", Place: "test.hcl:20", Values: "1 → 4",
	}}}}, report.Namespaces.Changed)
	require.Empty(t, report.Plugins)
	b.eventually("all run at once", func() bool { return len(b.runs("log")) == 4 })
	b.touch("go")
	b.results(4)
}

func TestReloadAddsAndRemovesANamespace(t *testing.T) {
	t.Parallel()
	for _, mode := range eventsystem.Modes() {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			events := fmt.Sprintf(`deployment_mode = %q`, mode)
			b := start(t, settings{events: events})
			b.sql(`SELECT pgmq.create('c_queue')`)
			b.send("c_queue", `{}`)
			report := b.reconfigured(settings{events: events, more: thirdNamespace})
			require.Equal(t, []string{"c"}, report.Namespaces.Added)
			b.results(1)
			b.send("c_queue", `{}`)
			b.results(2)

			b.send("c_queue", b.waiting())
			b.eventually("it runs", func() bool { return len(b.runs("log")) == 1 })
			report = b.reconfigured(settings{events: events})
			require.Equal(t, []string{"c"}, report.Namespaces.Removed)
			b.send("c_queue", `{}`)
			b.send("a_queue", `{}`)
			b.results(3)
			require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_c_queue WHERE read_ct = 0`), "what came later stays queued")
			b.touch("go")
			b.results(4)
			b.eventually("it is gone", func() bool { return len(b.Status(t.Context()).Namespaces) == 2 })
			require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_c_queue WHERE read_ct = 0`))
		})
	}
}

func TestReloadChangesAPluginsConfigUnderLoad(t *testing.T) {
	t.Parallel()
	word := func(word string) settings { return settings{plugin: fmt.Sprintf(`config { word = %q }`, word)} }
	b := start(t, word("w0"))
	var producer sync.WaitGroup
	const rounds, each = 60, 5
	producer.Go(func() {
		for range rounds {
			b.send("a_queue", bodies(each, `{"config": true}`)...)
			time.Sleep(10 * time.Millisecond)
		}
	})
	for i := range 3 {
		report := b.reconfigured(word(fmt.Sprintf("w%d", i+1)))
		require.Equal(t, "plugin.test.config", report.Plugins.Changed[0].Keys[0].Key)
		require.Empty(t, report.Plugins.Changed[0].Keys[0].Values, "it may be secret")
	}
	producer.Wait()
	b.results(rounds * each)
	require.Equal(t, rounds*each, b.count(`SELECT count(*) FROM pgmq.a_a_queue`))
	b.send("a_queue", `{"config": true}`)
	b.results(rounds*each + 1)
	require.NotZero(t, b.count(`SELECT count(*) FROM pgmq.q_results WHERE message::text LIKE '%w0%'`))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results WHERE msg_id = (SELECT max(msg_id) FROM pgmq.q_results) AND message::text LIKE '%w3%'`))
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_results WHERE NOT (message->>'success')::bool`))
}

func TestReloadAddsAndRemovesPlugins(t *testing.T) {
	t.Parallel()
	plugin, err := testPlugin()
	require.NoError(t, err)
	b := start(t, settings{})
	b.sql(`SELECT pgmq.create('c_queue')`)
	b.send("c_queue", `{"config": true}`)
	second := fmt.Sprintf(`plugin "second" {
  command = %q
  config { word = "second" }
}`, plugin)
	report := b.reconfigured(settings{more: second + strings.ReplaceAll(thirdNamespace, `"test"`, `"second"`)})
	require.Equal(t, []string{"second"}, report.Plugins.Added)
	b.results(1)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results WHERE message::text LIKE '%second%'`))

	report = b.reconfigured(settings{more: thirdNamespace})
	require.Equal(t, []string{"second"}, report.Plugins.Removed)
	require.Equal(t, "namespace.c.plugin", report.Namespaces.Changed[0].Keys[0].Key)
	b.send("c_queue", `{"config": true}`)
	b.results(2)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results WHERE message::text LIKE '%none%'`))
	b.eventually("the other plugin is gone", func() bool { return len(b.Status(t.Context()).Plugins) == 1 })
}

func TestReloadOfAnInvalidFileChangesNothing(t *testing.T) {
	t.Parallel()
	b := start(t, settings{a: `concurrency = 7`})
	before := b.plugin()
	for name, tc := range map[string]struct {
		settings settings
		want     []string
	}{
		"syntax":      {settings{a: "concurrency = 9\n}}"}, []string{"test.hcl:21"}},
		"unknown key": {settings{a: "concurrency = 9\nconcurency = 1"}, []string{"test.hcl:21", "concurency"}},
		"no such plugin": {settings{a: "concurrency = 9", more: strings.ReplaceAll(thirdNamespace, `"test"`, `"tset"`)}, []string{
			"Unknown plugin", `= "tset"`,
		}},
		"plugin refuses its config": {settings{a: "concurrency = 9", plugin: "config { refuse = true }"}, []string{
			"test.hcl:15", "refused as asked", "config { refuse = true }",
		}},
		"plugin's own key": {settings{a: "concurrency = 9", plugin: "config { world = true }"}, []string{"test.hcl:15", "world"}},
		"plugin does not start": {settings{a: "concurrency = 9", more: "plugin \"other\" {\n command = \"/bin/false\"\n}"}, []string{
			`Plugin "other" does not start`, `/bin/false`,
		}},
	} {
		got := b.refused(tc.settings)
		for _, want := range tc.want {
			require.Contains(t, got, want, name)
		}
		require.Equal(t, 7, b.namespace("a").Concurrency, name)
		require.Equal(t, before.Instances[0].PID, b.plugin().Instances[0].PID, name)
		require.Len(t, b.Status(t.Context()).Plugins, 1, name)
		b.eventually("it is logged", func() bool { return strings.Contains(b.logs.String(), "configuration not reloaded") })
	}
	b.send("a_queue", `{}`)
	b.results(1)
	require.EqualValues(t, 6, b.metrics()[`stephost_reloads_total{result="refused"}`])
	require.Equal(t, []string{"a"}, changedNames(b.reconfigured(settings{a: "concurrency = 9"}).Namespaces))
}

func changedNames(m admin.Members) (names []string) {
	for _, member := range m.Changed {
		names = append(names, member.Name)
	}
	return names
}

func TestReloadSwitchesTheModeUnlessAnOperatorHas(t *testing.T) {
	t.Parallel()
	mode := func(m eventsystem.Mode) settings {
		return settings{events: fmt.Sprintf(`deployment_mode = %q`, m)}
	}
	b := start(t, settings{})
	report := b.reconfigured(mode(eventsystem.PollingOnly))
	require.Equal(t, "event_system.deployment_mode", report.Settings[0].Key)
	require.Equal(t, eventsystem.PollingOnly, b.Status(t.Context()).Mode)
	require.False(t, b.Status(t.Context()).ModeOverride)

	require.NoError(t, b.SetMode(t.Context(), eventsystem.EventDrivenOnly))
	require.NoError(t, b.SetPaused(t.Context(), "a", true))
	report = b.reconfigured(mode(eventsystem.Hybrid))
	require.Contains(t, report.Warnings[0], "the operator's choice EventDrivenOnly stays in force")
	status := b.Status(t.Context())
	require.Equal(t, eventsystem.EventDrivenOnly, status.Mode)
	require.True(t, status.ModeOverride)
	require.True(t, b.namespace("a").Paused, "it outlives the reload too")

	b.reconfigured(mode(eventsystem.EventDrivenOnly))
	require.False(t, b.Status(t.Context()).ModeOverride, "the file says the same now")
	b.reconfigured(settings{events: "deployment_mode = \"PollingOnly\"\nlistener { enabled = false }"})
	require.Equal(t, eventsystem.PollingOnly, b.Status(t.Context()).Mode)
	require.ErrorIs(t, b.SetMode(t.Context(), eventsystem.Hybrid), admin.ErrConflict)
	b.reconfigured(settings{})
	require.Equal(t, eventsystem.Hybrid, b.Status(t.Context()).Mode)
}

func TestReloadTellsWhatNeedsANewStart(t *testing.T) {
	t.Parallel()
	b := start(t, settings{events: `processing_timeout = "30s"`})
	next := settings{
		host: `log_level = "warn"`, queue: "pool { max_connections = 3 }",
		events: "max_concurrent_processors = 3\nbuffers { bytes = \"1MiB\" }",
	}
	for range 2 { // it stays so until then
		report := b.reconfigured(next)
		require.Equal(t, []string{
			"queue.pool.max_connections changed (test.hcl:8): takes effect at the next start",
			"event_system.processing_timeout changed: takes effect at the next start",
		}, report.Warnings)
	}
	for _, buffer := range b.Status(t.Context()).Buffers {
		switch buffer.Name {
		case "slots":
			require.EqualValues(t, 3, buffer.Limit)
		case "bytes":
			require.EqualValues(t, 1<<20, buffer.Limit)
		}
	}
	logged := len(b.logs.String())
	b.reconfigured(next)
	require.NotContains(t, b.logs.String()[logged:], "[INFO]")
}

func TestReloadTakesOverLimitsAndQueueNames(t *testing.T) {
	t.Parallel()
	b := start(t, settings{
		host: `shutdown {
  drain_timeout = "1h"
  kill_timeout  = "1h"
}`,
		events: `fallback_poller { visibility_timeout = "1h" }`,
		a:      `timeout = "0s"`,
	})
	b.sql(`SELECT pgmq.create(q) FROM unnest(ARRAY['a_other', 'b_other']) q`)
	b.send("a_queue", fmt.Sprintf(`{"log": %q, "until": %q, "regardless": true}`, b.path("log"), b.path("go")))
	b.eventually("it runs", func() bool { return len(b.runs("log")) == 1 })

	report := b.reconfigured(settings{
		host: `shutdown {
  drain_timeout = "1ms"
  kill_timeout  = "1ms"
}`,
		queue: `queue_name = "{namespace}_other"`,
		events: `fallback_poller {
  batch_size         = 1
  visibility_timeout = "20m"
}`,
		a: `timeout = "0s"`,
	})
	require.Equal(t, []string{"a", "b"}, changedNames(report.Namespaces))
	require.Len(t, report.Settings, 5)
	require.Empty(t, report.Warnings)
	b.eventually("the old lane gives up at once", func() bool {
		return b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE vt <= clock_timestamp()`) == 1
	})

	b.send("a_other", bodies(20, `{}`)...)
	b.results(20)
	claims, claimed := b.metrics()[`stephost_claim_messages_count{namespace="a"}`], b.metrics()[`stephost_claim_messages_sum{namespace="a"}`]
	require.GreaterOrEqual(t, claims, claimed, "one message in a claim")
	b.send("a_other", b.waiting())
	b.eventually("it runs", func() bool { return len(b.runs("log")) == 2 })
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_other WHERE vt < clock_timestamp() + interval '21 minutes'`))
	b.drained()
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_other WHERE vt <= clock_timestamp()`))
}

func TestReloadsInALoopUnderLoadLoseNothing(t *testing.T) {
	t.Parallel()
	plugin, err := testPlugin()
	require.NoError(t, err)
	b := start(t, settings{})
	b.sql(`SELECT pgmq.create('c_queue')`)
	const rounds, each = 40, 6
	var producer sync.WaitGroup
	producer.Go(func() {
		for i := range rounds {
			b.send([]string{"a_queue", "c_queue"}[i%2], bodies(each, `{}`)...)
			time.Sleep(20 * time.Millisecond)
		}
	})
	for i := range 8 {
		s := settings{
			plugin: fmt.Sprintf(`config { word = "w%d" }`, i/2),
			a:      fmt.Sprintf(`concurrency = %d`, 1+rand.IntN(5)),
			events: fmt.Sprintf("deployment_mode = %q\nfallback_poller { batch_size = %d }", eventsystem.Modes()[i%3], 1+rand.IntN(9)),
			host:   `shutdown { drain_timeout = "100ms" }`,
		}
		if i%2 == 0 {
			s.more = fmt.Sprintf("plugin \"second\" {\n command = %q\n}\n", plugin) + strings.ReplaceAll(thirdNamespace, `"test"`, `"second"`)
		}
		b.reconfigured(s)
	}
	b.reconfigured(settings{more: thirdNamespace})
	producer.Wait()
	b.results(rounds * each)
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_results WHERE NOT (message->>'success')::bool`))
}

func TestDrainAbandonsAReload(t *testing.T) {
	t.Parallel()
	b := start(t, settings{})
	failed := make(chan error, 1)
	go func() {
		// This one says nothing, for as long as a start may take.
		_, err := b.reconfigure(settings{more: "plugin \"mute\" {\n command = \"/bin/sleep\"\n args = [\"600\"]\n}"})
		failed <- err
	}()
	b.eventually("the new process is started", func() bool { return strings.Contains(b.logs.String(), "plugin=mute") })
	b.drained()
	require.ErrorContains(t, <-failed, "nothing has changed")
	_, err := b.Reload(t.Context())
	require.ErrorIs(t, err, admin.ErrConflict)
}

func TestReloadWarnsOfAMissingQueue(t *testing.T) {
	t.Parallel()
	b := start(t, settings{})
	report := b.reconfigured(settings{more: thirdNamespace})
	require.Len(t, report.Warnings, 1)
	require.Contains(t, report.Warnings[0], `namespace "c" waits: queue "c_queue" does not exist: create it with`)
	b.eventually("the status says so", func() bool {
		return strings.Contains(strings.Join(b.namespace("c").Faults, "\n"), `queue "c_queue" does not exist: create it with`)
	})
	b.sql(`SELECT pgmq.create('c_queue')`)
	b.send("c_queue", `{}`)
	b.results(1)
}

func TestReloadWaitsForASwapThatIsUnderWay(t *testing.T) {
	t.Parallel()
	s := settings{plugin: `swap = "stop_first"`}
	b := start(t, s)
	b.send("a_queue", b.waiting())
	b.eventually("it runs", func() bool { return len(b.runs("log")) == 1 })
	done := make(chan error, 2)
	go func() {
		_, err := b.ReloadPlugin(t.Context(), "test")
		done <- err
	}()
	b.inState(supervisor.StateDraining)
	s.plugin += "\nconfig { word = \"new\" }"
	go func() {
		_, err := b.reconfigure(s)
		done <- err
	}()
	b.touch("go")
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	b.send("a_queue", `{"config": true}`)
	b.results(2)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_results WHERE message::text LIKE '%new%'`))
}

func TestReloadThatCannotSwitchTheModeTriesAgain(t *testing.T) {
	t.Parallel()
	mode := func(m eventsystem.Mode) settings {
		return settings{
			queue:  `listen_dsn = "postgres://127.0.0.1:1/nowhere"`,
			events: fmt.Sprintf("deployment_mode = %q\nlistener { connection_timeout = \"1s\" }", m),
		}
	}
	b := start(t, mode(eventsystem.PollingOnly))
	for range 2 {
		next := mode(eventsystem.Hybrid)
		next.a = "concurrency = 9"
		report := b.reconfigured(next)
		require.Equal(t, "event_system.deployment_mode", report.Settings[0].Key)
		require.Len(t, report.Warnings, 1)
		require.Contains(t, report.Warnings[0], "the listener does not work")
		require.Equal(t, eventsystem.PollingOnly, b.Status(t.Context()).Mode)
		require.Equal(t, 9, b.namespace("a").Concurrency, "the rest is in force")
	}
	b.send("a_queue", `{}`)
	b.results(1)
}

func TestCloseAbandonsAReloadOfAHostThatNeverRan(t *testing.T) {
	t.Parallel()
	b := build(t, newDatabase(t), settings{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Reload(ctx) // waits for the start
	require.ErrorIs(t, err, context.Canceled)
	b.Close() // goleak finds what it leaves
	_, err = b.Reload(t.Context())
	require.ErrorIs(t, err, admin.ErrConflict)
}
