package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/internal/syncbuf"
)

// conf is a configuration: HCL expressions by the path of their key, such as
// "namespace.retry.max". Plugin and namespace keys are those of plugin "test"
// and namespace "a"; "namespace:b.plugin" names another one. What is not set
// here and not by file has its default.
type conf map[string]string

// with adds settings to a copy.
func (c conf) with(more conf) conf {
	both := maps.Clone(c)
	maps.Copy(both, more)
	return both
}

// file renders the configuration as the text of a file.
func (c conf) file(t *testing.T, dsn string) string {
	t.Helper()
	program, err := testPlugin()
	require.NoError(t, err)
	all := conf{
		"host.admin.listen":        `"127.0.0.1:0"`,
		"queue.dsn":                strconv.Quote(dsn),
		"plugin.command":           strconv.Quote(program),
		"namespace.plugin":         `"test"`,
		"namespace.result_queue":   `"results"`,
		"namespace:b.plugin":       `"test"`,
		"namespace:b.result_queue": `"results"`,
	}.with(c)
	blocks := make(map[string]conf)
	for key, expression := range all {
		block, rest := cutDot(key)
		if blocks[block] == nil {
			blocks[block] = make(conf)
		}
		blocks[block][rest] = expression
	}
	labels := map[string]string{"queue": "pgmq", "plugin": "test", "namespace": "a"}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(blocks)) {
		kind, label, named := strings.Cut(name, ":")
		if !named {
			label = labels[kind]
		}
		text.WriteString(kind)
		if label != "" {
			fmt.Fprintf(&text, " %q", label)
		}
		blocks[name].body(&text)
	}
	return text.String()
}

// body renders the inside of a block.
func (c conf) body(text *strings.Builder) {
	text.WriteString(" {\n")
	inner := make(map[string]conf)
	for _, key := range slices.Sorted(maps.Keys(c)) {
		block, rest := cutDot(key)
		if rest == "" {
			fmt.Fprintf(text, "%s = %s\n", key, c[key])
			continue
		}
		if inner[block] == nil {
			inner[block] = make(conf)
		}
		inner[block][rest] = c[key]
	}
	for _, name := range slices.Sorted(maps.Keys(inner)) {
		text.WriteString(name)
		inner[name].body(text)
	}
	text.WriteString("}\n")
}

func cutDot(key string) (first, rest string) {
	first, rest, _ = strings.Cut(key, ".")
	return first, rest
}

// newConfigured makes a host that does not run yet.
func newConfigured(t *testing.T, dsn string, c conf) (*bundle, error) {
	t.Helper()
	text := c.file(t, dsn)
	cfg, diags := config.Parse("test.hcl", []byte(text))
	require.False(t, diags.HasErrors(), "%v\n%s", diags, text)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := &bundle{t: t, dsn: dsn, dir: t.TempDir(), logs: &syncbuf.Buffer{}, done: make(chan error, 1)}
	var err error
	b.Host, err = host.New(ctx, host.Options{
		Config: cfg, Version: "test",
		ShimCommand: shimCommand(),
		Logger:      hclog.New(&hclog.LoggerOptions{Output: b.logs, Level: hclog.Debug}),
	})
	if err != nil {
		return nil, err
	}
	b.db, err = pgxpool.New(ctx, dsn)
	require.NoError(t, err)
	t.Cleanup(b.db.Close)
	return b, nil
}

// runConfigured runs a host of which not all need become ready.
func runConfigured(t *testing.T, dsn string, c conf) *bundle {
	t.Helper()
	b, err := newConfigured(t, dsn, c)
	require.NoError(t, err)
	b.run()
	return b
}

// startConfigured runs a host on a database of its own, in which there are
// also these queues, and waits until it is ready.
func startConfigured(t *testing.T, c conf, queues ...string) *bundle {
	t.Helper()
	dsn := newDatabase(t)
	execute(t, dsn, `SELECT pgmq.create(q) FROM unnest($1::text[]) q`, queues)
	b := runConfigured(t, dsn, c)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.WaitReady(ctx); err != nil {
		t.Fatalf("the host did not become ready: %v\n%s", err, b.logs)
	}
	return b
}

func execute(t *testing.T, dsn, sql string, args ...any) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	defer pool.Close()
	_, err = pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// quiesced waits until the looks that belong to the start are over: from then
// on a lane claims only for a new reason.
func (b *bundle) quiesced() {
	b.t.Helper()
	b.eventually("the first claims have been made", func() bool {
		events := b.Status(b.t.Context()).Events
		seen := b.metrics()
		return events.Processed+events.Failed >= 2 &&
			seen[`stephost_claim_messages_count{namespace="a"}`] >= 1 &&
			seen[`stephost_claim_messages_count{namespace="b"}`] >= 1
	})
}

// namespace is the status of one.
func (b *bundle) namespace(name string) admin.Namespace {
	b.t.Helper()
	for _, ns := range b.Status(b.t.Context()).Namespaces {
		if ns.Name == name {
			return ns
		}
	}
	b.t.Fatalf("no namespace %q", name)
	return admin.Namespace{}
}

// plugin is the status of the only plugin, once it runs or has failed to.
func (b *bundle) plugin() admin.Plugin {
	b.t.Helper()
	b.eventually("the plugin is started", func() bool { return len(b.Status(b.t.Context()).Plugins) == 1 })
	return b.Status(b.t.Context()).Plugins[0]
}

// get asks the admin endpoint.
func (b *bundle) get(path, token string) (code int, body string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, "http://"+b.AdminAddr()+path, nil)
	require.NoError(b.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	return resp.StatusCode, string(data)
}

// metrics are the values of all series at one moment.
func (b *bundle) metrics() map[string]float64 {
	b.t.Helper()
	_, text := b.get("/metrics", "")
	values := make(map[string]float64)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		space := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || space < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[space+1:], 64)
		require.NoError(b.t, err)
		values[line[:space]] = value
	}
	return values
}

// report is what the test plugin tells about one execution.
type report struct {
	PID        int
	Running    int
	Executable string
	Args       []string
	Env        []string
	Dir        string
	UID, GID   int
	Limits     string
	Cgroup     string
	Left       *float64 `json:"left_seconds"`
}

// reports waits for n results and returns what the handlers told.
func (b *bundle) reports(n int) []report {
	b.t.Helper()
	b.results(n)
	var text []byte
	require.NoError(b.t, b.db.QueryRow(b.t.Context(), `SELECT jsonb_agg(message->'result') FROM pgmq.q_results`).Scan(&text))
	var list []report
	require.NoError(b.t, json.Unmarshal(text, &list))
	require.Len(b.t, list, n)
	return list
}

// reportOf starts a host, runs one step on it and returns what it told.
func reportOf(t *testing.T, c conf) report {
	t.Helper()
	b := startConfigured(t, c)
	b.send("a_queue", `{"about": true}`)
	return b.reports(1)[0]
}

// waiting is the body of a message whose handler notes its start in the file
// "log" and waits for the file "go".
func (b *bundle) waiting() string {
	return fmt.Sprintf(`{"log": %q, "until": %q, "about": true}`, b.path("log"), b.path("go"))
}
