package host_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/admin"
)

// These tests give a host, with real plugin processes, what no host should be
// given. Each shows three things: one clear error, at the message that deserves
// it; every other message of the namespace is done; and so are those of a
// healthy namespace beside it.

// rawPlugin builds, once per process, the plugin that answers with any bytes.
var rawPlugin = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // a cache for tests
	dir, err := os.MkdirTemp("", "stephost-rawplugin")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "rawplugin")
	out, err := exec.Command("go", "build", "-o", path, "./internal/rawplugin").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the raw plugin: %w\n%s", err, out)
	}
	return path, nil
})

// rawConf adds namespace "raw" with the raw plugin.
func rawConf(t *testing.T) conf {
	t.Helper()
	program, err := rawPlugin()
	require.NoError(t, err)
	return conf{
		"plugin:raw.command": fmt.Sprintf("%q", program), "plugin:raw.tls": `"off"`,
		"namespace:raw.plugin": `"raw"`, "namespace:raw.result_queue": `"results"`,
	}
}

// verdict is how a message should end: in the archive when reason is empty, and
// else in the dead letters, for that reason and with a text that has says in it.
type verdict struct{ reason, says string }

// trial is a namespace that gets bad messages, beside a healthy one.
type trial struct {
	*bundle
	namespace string
	want      map[int64]verdict
	what      map[int64]string
}

func newTrial(b *bundle, namespace string) *trial {
	return &trial{bundle: b, namespace: namespace, want: map[int64]verdict{}, what: map[int64]string{}}
}

// put puts a message on the queue: body and headers are SQL expressions.
func (tr *trial) put(what, body, headers string, want verdict) {
	tr.t.Helper()
	var id int64
	require.NoError(tr.t, tr.db.QueryRow(tr.t.Context(), fmt.Sprintf(
		`INSERT INTO pgmq.q_%s_queue (vt, message, headers) VALUES (clock_timestamp(), %s, %s) RETURNING msg_id`,
		tr.namespace, body, headers)).Scan(&id), what)
	tr.want[id], tr.what[id] = want, what
}

// ends waits until every message has ended as it should, with one result each,
// and the healthy namespace has done its part.
func (tr *trial) ends() {
	tr.t.Helper()
	const healthy = 20
	tr.send("b_queue", bodies(healthy, `{}`)...)
	tr.results(len(tr.want) + healthy)
	require.EqualValues(tr.t, healthy, tr.Settled(tr.t.Context(), "b"), "the namespace beside it is not disturbed")
	for id, want := range tr.want {
		archived := tr.count(fmt.Sprintf(`SELECT count(*) FROM pgmq.a_%s_queue WHERE msg_id = $1`, tr.namespace), id)
		var reasons, texts string
		require.NoError(tr.t, tr.db.QueryRow(tr.t.Context(), fmt.Sprintf(
			`SELECT coalesce(string_agg(headers #>> '{stephost,dead,reason}', ','), ''), coalesce(string_agg(headers #>> '{stephost,dead,error}', ','), '')
			 FROM pgmq.q_%s_dead WHERE headers #>> '{stephost,origin,msg_id}' = $1::text`, tr.namespace), fmt.Sprint(id)).Scan(&reasons, &texts))
		require.Equal(tr.t, want.reason, reasons, "%s: %s", tr.what[id], texts)
		require.Contains(tr.t, texts, want.says, tr.what[id])
		require.Equal(tr.t, want.reason == "", archived == 1, tr.what[id])
		success := tr.count(`SELECT count(*) FROM pgmq.q_results WHERE message->>'queue' = $1 AND message->>'message_id' = $2 AND message->>'success' = 'true'`,
			tr.namespace+"_queue", fmt.Sprint(id))
		require.Equal(tr.t, want.reason == "", success == 1, "the result of %s", tr.what[id])
	}
	for _, p := range tr.Status(tr.t.Context()).Plugins {
		require.Zero(tr.t, p.Restarts+p.Crashes, "plugin %q survives", p.Name)
	}
	// The health of the host also tells how fast this machine is.
	tr.eventually("nothing fails any more", func() bool {
		return !slices.ContainsFunc(tr.Status(tr.t.Context()).Namespaces, func(ns admin.Namespace) bool {
			return ns.Blocked != "" || len(ns.Faults) > 0
		})
	})
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func object(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return literal(string(text))
}

func TestBodiesThatAreNoObjects(t *testing.T) {
	t.Parallel()
	tr := newTrial(startConfigured(t, conf{}), "a")
	log := object(t, map[string]string{"log": tr.path("log")})
	for body, kind := range map[string]string{
		`'[]'`: "an array", `'[{"log": "x"}]'`: "an array", `'"text"'`: "a string", `'""'`: "a string", `'7'`: "a number", `'-0.5e-300'`: "a number",
		`'true'`: "a boolean", `'false'`: "a boolean", `'null'`: "null", `NULL`: "no body (SQL NULL)",
		// Too large to come with the claim.
		`to_jsonb(repeat('x', 50000000))`: "a string",
	} {
		tr.put(body, body, `NULL`, verdict{"not_an_object", kind})
		tr.put("a good one", log, `NULL`, verdict{})
	}
	tr.ends()
	require.Len(t, tr.runs("log"), len(tr.want)/2, "the good ones ran once each, and no other")
}

func TestFieldsOfWrongTypes(t *testing.T) {
	t.Parallel()
	tr := newTrial(startConfigured(t, conf{
		"namespace.retry.max_attempts": "2", "namespace.retry.initial": `"1ms"`, "namespace.retry.max": `"1ms"`,
	}), "a")
	const unknown = "unknown_step"
	for body, want := range map[string]verdict{
		`{"step": "work"}`:        {},
		`{"step": null}`:          {},
		`{"step": ""}`:            {},
		`{}`:                      {},
		`{"step": 7}`:             {unknown, `field "step" is a number`},
		`{"step": true}`:          {unknown, `field "step" is a boolean`},
		`{"step": ["work"]}`:      {unknown, `field "step" is an array`},
		`{"step": {"n": "work"}}`: {unknown, `field "step" is an object`},
		`{"step": "Work"}`:        {unknown, `no handler for step "Work"`},
		`{"step": "work\n"}`:      {unknown, `no handler for step "work\n"`},
		`{"step": "` + strings.Repeat("w", 1<<20) + `"}`:                                                             {unknown, strings.Repeat("w", 100) + "…"},
		`{"task_uuid": 1, "step_uuid": {"a": 1}, "correlation_id": [2]}`:                                             {},
		`{"task_uuid": null, "step_uuid": true, "correlation_id": ""}`:                                               {},
		`{"task_uuid": "t", "step_uuid": "s", "correlation_id": "c"}`:                                                {},
		`{"task_uuid": "` + strings.Repeat("t", 1<<20) + `", "correlation_id": "` + strings.Repeat("c", 1024) + `"}`: {},
		`{"log": 5}`:                          {"permanent", `field "log"`},
		`{"ms": 1e400}`:                       {"permanent", `field "ms"`},
		`{"ms": 123456789012345678901234567}`: {"permanent", `field "ms"`},
	} {
		tr.put(body[:min(len(body), 60)], literal(body), `NULL`, want)
	}
	tr.ends()
	require.Equal(t, len(tr.want)-1, tr.count(`SELECT count(*) FROM pgmq.q_results WHERE message->>'queue' = 'a_queue'
		AND message->'task_uuid' = 'null' AND message->'step_uuid' = 'null' AND message->'correlation_id' = 'null'`),
		"an id that is no string, or longer than one, is none")
	require.Zero(t, tr.count(`SELECT count(*) FROM pgmq.q_results WHERE length(message::text) > 2000`))
}

// By default PostgreSQL takes some 6,000 levels, and encoding/json 10,000. A
// server can be told to take more.
func TestDeeplyNestedBodies(t *testing.T) {
	t.Parallel()
	b := startConfigured(t, conf{})
	nested := func(levels int) string {
		return fmt.Sprintf(`('{"nested": ' || repeat('[', %[1]d) || repeat(']', %[1]d) || '}')::jsonb`, levels)
	}
	b.sql(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET max_stack_depth = ''7MB''', current_database()); END $$`)
	b.db.Reset()
	tr := newTrial(b, "a")
	for _, levels := range []int{100, 5000, 9990} {
		tr.put(fmt.Sprint(levels), nested(levels), `NULL`, verdict{})
	}
	for _, levels := range []int{10_001, 15_000} {
		tr.put(fmt.Sprint(levels), nested(levels), `NULL`, verdict{"permanent", "decode message: offset"})
	}
	tr.ends()
}
