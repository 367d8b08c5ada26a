package pgmq

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// clockWatch looks at the arguments and the text of every statement for times.
// The database's clock is far from this machine's, so it is plain which of the
// two a time was taken from.
type clockWatch struct {
	mu         sync.Mutex
	statements map[string]struct{}
	times      int
	wrong      []string
}

const (
	clockOffset = 26 * time.Hour
	clockNear   = 12 * time.Hour
)

func (w *clockWatch) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.statements == nil {
		w.statements = map[string]struct{}{}
	}
	w.statements[data.SQL] = struct{}{}
	w.look(data.SQL, reflect.ValueOf(data.SQL))
	for _, arg := range data.Args {
		w.look(data.SQL, reflect.ValueOf(arg))
	}
	return ctx
}

func (w *clockWatch) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

var timePattern = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?`)

// look finds times in a value of any shape.
func (w *clockWatch) look(sql string, v reflect.Value) {
	if !v.IsValid() {
		return
	}
	if v.CanInterface() {
		if at, ok := v.Interface().(time.Time); ok {
			w.judge(sql, at)
			return
		}
		if text, ok := v.Interface().([]byte); ok {
			w.look(sql, reflect.ValueOf(string(text)))
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		w.look(sql, v.Elem())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			w.look(sql, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			w.look(sql, v.Field(i))
		}
	case reflect.String:
		for _, text := range timePattern.FindAllString(v.String(), -1) {
			for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999Z07:00", "2006-01-02 15:04:05.999999"} {
				if at, err := time.Parse(layout, text); err == nil {
					w.judge(sql, at)
					break
				}
			}
		}
	case reflect.Int, reflect.Int64:
		// The host's time as a count since the epoch.
		for _, at := range []time.Time{time.Unix(v.Int(), 0), time.UnixMilli(v.Int()), time.UnixMicro(v.Int()), time.Unix(0, v.Int())} {
			if since := time.Since(at).Abs(); since < clockNear {
				w.judge(sql, at)
			}
		}
	}
}

func (w *clockWatch) judge(sql string, at time.Time) {
	if at.IsZero() {
		return // infinity, or no time at all
	}
	w.times++
	if time.Until(at.Add(-clockOffset)).Abs() > clockNear {
		w.wrong = append(w.wrong, fmt.Sprintf("%v in: %s", at, sql))
	}
}

// Every statement of the broker and of its tools, seen on its way to a database
// whose clock is 26 hours ahead: no time in it is this machine's.
func TestNoStatementTakesTheHostsTime(t *testing.T) {
	t.Parallel()
	cluster := devpgtest.ShiftedCluster(t, clockOffset)
	for _, l := range []pgmqtest.Layout{pgmqtest.V1_4, ours} {
		t.Run(string(l), func(t *testing.T) {
			t.Parallel()
			name := "ours"
			if l != ours {
				name = "old"
			}
			root, err := pgx.Connect(t.Context(), cluster.DSN("postgres"))
			require.NoError(t, err)
			_, err = root.Exec(t.Context(), "CREATE DATABASE "+name)
			require.NoError(t, err)
			require.NoError(t, root.Close(t.Context()))
			conn, err := pgx.Connect(t.Context(), cluster.DSN(name))
			require.NoError(t, err)
			if l == ours {
				err = installOurs(t.Context(), conn)
			} else {
				err = pgmqtest.Install(t.Context(), conn, l)
			}
			require.NoError(t, err)
			require.NoError(t, conn.Close(t.Context()))
			var watch clockWatch
			everyStatement(t, open(t, cluster.DSN(name), func(o *Options) { o.tracer = &watch }))
			require.Empty(t, watch.wrong)
			require.Greater(t, watch.times, 20, "times of the database's were seen")
			require.Greater(t, len(watch.statements), 40)
		})
	}
}

// everyStatement does all that a broker can do.
func everyStatement(t *testing.T, b *bundle) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		require.NoError(t, err)
	}
	_, err := b.CreateQueue(ctx, "orders")
	must(err)
	_, err = b.CreateQueue(ctx, "results")
	must(err)
	subscription, err := b.Subscribe(ctx, []string{"orders"})
	must(err)
	must(subscription.Verify(ctx))
	must(subscription.Close())
	_, err = b.Send(ctx, "orders", slices.Concat(sends("", `1`, `2`, `3`, `4`, `5`, `6`), []queues.Outgoing{{Body: []byte(`7`), Delay: time.Hour}}))
	must(err)
	_, err = b.Probe(ctx, []string{"orders", "results", "nobody"})
	require.NoError(t, err)
	_, err = b.LookAhead(ctx, "orders")
	must(err)
	// Full claims, so that a floor is passed.
	got := append(b.claim("orders", 2), b.claim("orders", 2)...)
	got = append(got, b.claim("orders", 1)...)
	one, err := b.Claim(ctx, queues.ClaimRequest{Queue: "orders", ID: 6, Limit: 1, Lease: time.Minute})
	must(err)
	require.Len(t, one, 1)
	_, _, err = b.BodySize(ctx, got[0].Lease)
	must(err)
	_, _, err = b.Body(ctx, got[0].Lease)
	must(err)
	_, err = b.Extend(ctx, "orders", []queues.Lease{got[0].Lease, got[1].Lease}, time.Minute)
	must(err)
	record := got[1].Record.AddError(queues.ErrorEntry{At: got[1].ClaimedAt, Attempt: 1, Message: "no luck"})
	out := append(sends("results", `{}`), queues.Outgoing{Queue: "results", Body: []byte(`{}`), Delay: time.Second})
	b.mustEnd(got[0].Lease, queues.Complete{Send: out})
	b.mustEnd(got[1].Lease, queues.Retry{Delay: time.Second, Record: record})
	b.mustEnd(got[2].Lease, queues.Release{Record: record})
	for _, d := range []queues.Delivery{got[3], got[4], one[0]} {
		record.Dead = &queues.Dead{Reason: queues.DeadPermanent}
		record.Origin = &queues.Origin{Queue: "orders", ID: d.ID, EnqueuedAt: d.EnqueuedAt}
		b.mustEnd(d.Lease, queues.DeadLetter{Queue: "orders_dead", Record: record, Send: out})
	}
	everyTool(t, b)
}

func everyTool(t *testing.T, b *bundle) {
	ctx := t.Context()
	must := func(_ any, err error) {
		t.Helper()
		require.NoError(t, err)
	}
	now, err := b.Now(ctx)
	require.NoError(t, err)
	recent := DeadFilter{Since: now.Add(-time.Hour), Until: now.Add(time.Hour)}
	must(b.DeadList(ctx, "orders_dead", recent, 0, 10))
	must(b.DeadCount(ctx, "orders_dead", recent))
	must(b.DeadShow(ctx, "orders_dead", 1))
	require.NoError(t, b.DeadEach(ctx, "orders_dead", recent, func(DeadMessage) error { return nil }))
	report, err := b.DeadReplay(ctx, "orders_dead", DeadIDs(1), ReplayOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 1, report.Done)
	report, err = b.DeadDiscard(ctx, "orders_dead", DeadIDs(2), DiscardOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 1, report.Done)
	must(b.DeadDiscard(ctx, "orders_dead", DeadIDs(3), DiscardOptions{Delete: true}))
	must(b.Peek(ctx, "orders", 10))
	must(b.CountMessages(ctx, []string{"orders"}, 10))
	must(b.ListQueues(ctx))
	must(b.Exists(ctx, "orders"))
	require.NoError(t, b.Ping(ctx))
	for _, limits := range []ArchiveLimits{{Age: time.Hour}, {Rows: 1}, {Bytes: 1}} {
		prune(t, must, func() (*Pass, error) { return b.PruneArchive(ctx, "orders", limits) })
	}
	prune(t, must, func() (*Pass, error) { return b.PruneDeadLetters(ctx, "orders_dead", time.Hour) })
	must(b.QueueTuning(ctx, "orders"))
	must(b.TuneQueue(ctx, "orders"))
	must(b.ResetQueueTuning(ctx, "orders"))
	must(b.Purge(ctx, "orders"))
	must(b.DropQueue(ctx, "orders"))
}

func prune(t *testing.T, must func(any, error), begin func() (*Pass, error)) {
	t.Helper()
	pass, err := begin()
	must(nil, err)
	for more := pass != nil; more; {
		_, more, err = pass.Delete(t.Context(), 100)
		must(nil, err)
	}
}

// What reads this machine's clock in this package is on the list, and why it
// never reaches a statement.
func TestWhoReadsTheHostsClock(t *testing.T) {
	t.Parallel()
	allowed := map[string]string{
		"Open":   "how long a floor and the knowledge of a queue are good for",
		"events": "when a notification came in, for statistics",
	}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	more, err := filepath.Glob("schema/*.go")
	require.NoError(t, err)
	for _, name := range append(files, more...) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			function := "a declaration"
			if f, ok := decl.(*ast.FuncDecl); ok {
				function = f.Name.Name
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				selector, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if pkg, ok := selector.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains([]string{"Now", "Since", "Until"}, selector.Sel.Name) {
					require.Contains(t, allowed, function, "%s: %s reads the host's clock with time.%s: no statement may take its time; if none does, say so in this list",
						name, function, selector.Sel.Name)
				}
				return true
			})
		}
	}
}
