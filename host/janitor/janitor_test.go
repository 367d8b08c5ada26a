package janitor_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/janitor"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/internal/syncbuf"
	"github.com/stephost/stephost/queues/pgmq"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

// patience bounds every wait; nothing depends on its length.
const patience = 60 * time.Second

// house is a database with old messages.
type house struct {
	t      *testing.T
	broker *pgmq.Broker
	db     *pgx.Conn
	logs   *syncbuf.Buffer
}

func newHouse(t *testing.T) *house {
	t.Helper()
	dsn := devpgtest.New(t, devpgtest.Template("janitor", func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := schema.Install(ctx, conn); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, `SELECT pgmq.create(q) FROM unnest(ARRAY['one','two','three']) q`)
		return err
	}))
	broker, err := pgmq.Open(t.Context(), pgmq.Options{DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	db, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	return &house{t: t, broker: broker, db: db, logs: &syncbuf.Buffer{}}
}

// janitor makes one that is stopped at the end of the test.
func (h *house) janitor(rules ...janitor.Rule) *janitor.Janitor {
	h.t.Helper()
	j := janitor.New(h.broker, rules, hclog.New(&hclog.LoggerOptions{Output: h.logs}))
	h.t.Cleanup(j.Stop)
	return j
}

func (h *house) exec(sql string, args ...any) {
	h.t.Helper()
	_, err := h.db.Exec(h.t.Context(), sql, args...)
	require.NoError(h.t, err)
}

func (h *house) archived(queue string, n int) {
	h.t.Helper()
	h.exec(fmt.Sprintf(`INSERT INTO pgmq.a_%s (msg_id, vt, archived_at) SELECT i, now(), now() - interval '1 day' FROM generate_series(1, %d) i`, queue, n))
}

func (h *house) kept(queue string) (n int) {
	h.t.Helper()
	require.NoError(h.t, h.db.QueryRow(h.t.Context(), `SELECT count(*) FROM pgmq.a_`+queue).Scan(&n))
	return n
}

func (h *house) eventually(what string, check func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); !check(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("it did not happen: %s\n%s", what, h.logs)
		}
	}
}

func hour(queue string) janitor.Rule {
	return janitor.Rule{Kind: janitor.Archive, Queue: queue, Keep: pgmq.ArchiveLimits{Age: time.Hour}}
}

func TestQueuesArePrunedInTurns(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.archived("one", 100_000)
	h.archived("two", 100_000)
	h.archived("three", 10)
	j := h.janitor(hour("one"), hour("two"), hour("three"))
	j.Start()
	h.eventually("the small one is done", func() bool { return h.kept("three") == 0 })
	rules := j.Status().Rules
	require.Less(t, rules[0].Deleted, uint64(100_000), "it has not waited for the large ones")
	require.Less(t, rules[1].Deleted, uint64(100_000))
	h.eventually("all have begun", func() bool { return j.Status().Rules[1].Deleted > 0 })
}

func TestRuleThatFailsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.archived("one", 1000)
	h.archived("two", 1000)
	h.exec(`DROP INDEX pgmq.archived_at_idx_one`)
	j := h.janitor(hour("none"), hour("one"), hour("two"))
	j.Start()
	h.eventually("the run is over", func() bool { return j.Status().Runs > 0 })
	require.Equal(t, 1000, h.kept("one"))
	require.Zero(t, h.kept("two"))
	rules := j.Status().Rules
	require.Empty(t, rules[0].LastError, "a namespace without its queue waits, which is said elsewhere")
	require.Contains(t, rules[1].LastError, "CREATE INDEX CONCURRENTLY")
	require.Equal(t, uint64(1), rules[1].Errors)
	require.Equal(t, uint64(1000), rules[2].Deleted)
	require.Empty(t, rules[2].LastError)

	// The same error is said once; what has worked has no error.
	j.Set([]janitor.Rule{hour("two"), hour("one")})
	h.eventually("it has failed again", func() bool { return j.Status().Rules[1].Errors == 2 })
	require.Equal(t, 1, strings.Count(h.logs.String(), "old messages not deleted"))
	h.exec(`CREATE INDEX ON pgmq.a_one (archived_at)`)
	j.Set([]janitor.Rule{hour("one")})
	h.eventually("it works", func() bool { return h.kept("one") == 0 })
	h.eventually("the error is forgotten", func() bool { return j.Status().Rules[0].LastError == "" })
}

// TestChunkThatIsTooMuchIsMadeSmaller: rows may be so large that the first
// chunk does not end within the timeout. The next run tries fewer.
func TestChunkThatIsTooMuchIsMadeSmaller(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.archived("one", 150)
	h.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN IF (SELECT count(*) FROM gone) > 60 THEN RAISE 'too much'; END IF; RETURN NULL; END $$`)
	h.exec(`CREATE TRIGGER few AFTER DELETE ON pgmq.a_one REFERENCING OLD TABLE AS gone EXECUTE FUNCTION refuse()`)
	j := h.janitor(hour("one"))
	j.Start()
	for n := uint64(1); h.kept("one") > 0; n++ {
		h.eventually("it has run", func() bool { return j.Status().Runs >= n })
		require.Less(t, n, uint64(5), "200 and 100 are too many")
		j.Set([]janitor.Rule{hour("one"), hour([]string{"two", "three"}[n%2])}) // looks at once
	}
}

func TestJanitorComesAgainWhenAnotherWasAtIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.archived("one", 10)
	h.exec(`SELECT pg_advisory_lock(hashtext('stephost.prune'))`)
	j := h.janitor(hour("one"))
	j.Start()
	h.eventually("it has run", func() bool { return j.Status().Runs > 0 })
	require.Equal(t, 10, h.kept("one"))
	require.Empty(t, j.Status().Rules[0].LastError, "that is no error")
	h.exec(`SELECT pg_advisory_unlock_all()`)
	h.eventually("it deletes", func() bool { return h.kept("one") == 0 })
}

func TestRuleThatIsTakenAwayStopsDeleting(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.archived("one", 200_000)
	j := h.janitor(hour("one"))
	j.Start()
	h.eventually("it deletes", func() bool { return j.Status().Rules[0].Deleted > 0 })
	j.Set(nil)
	h.eventually("the run is over", func() bool { return !j.Status().Running })
	require.Empty(t, j.Status().Rules)
	require.Positive(t, h.kept("one"))
}
