package host_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// keepKeyTests are about the keys that say how long something is kept.
func keepKeyTests() map[string]keyTest {
	return map[string]keyTest{
		"queue.archive.retain":         testQueueArchive(`"7d"`, 7),
		"queue.archive.max_rows":       testQueueArchive("4", 4),
		"queue.archive.max_size":       testQueueArchive(`"1000"`, 8), // of about 122 bytes each
		"namespace.archive.retain":     testNamespaceArchive(`"7d"`, 7, `"forever"`),
		"namespace.archive.max_rows":   testNamespaceArchive("4", 4, "0"),
		"namespace.archive.max_size":   testNamespaceArchive(`"1000"`, 8, "0"),
		"namespace.dead_letter_retain": testDeadLetterRetain,
	}
}

// days fills the archives of both namespaces, and the dead letters of one, with
// ten rows each: one an hour old, one a day and an hour, and so on.
func days(t *testing.T, dsn string) {
	t.Helper()
	for _, archive := range []string{"a_a_queue", "a_b_queue", "a_results", "a_a_dead"} {
		execute(t, dsn, `INSERT INTO pgmq.`+archive+` (msg_id, vt, message, archived_at)
			SELECT 1000 - i, now(), '{}', now() - i * interval '1 day' - interval '1 hour' FROM generate_series(0, 9) i`)
	}
	for _, queue := range []string{"q_a_dead", "q_b_dead"} {
		execute(t, dsn, `INSERT INTO pgmq.`+queue+` (vt, message, enqueued_at)
			SELECT now(), '{}', now() - (9 - i) * interval '1 day' - interval '1 hour' FROM generate_series(0, 9) i`)
	}
}

// pruned starts a host where something has become old, and waits until the
// janitor has come to its end.
func pruned(t *testing.T, c conf) *bundle {
	t.Helper()
	dsn := newDatabase(t)
	days(t, dsn)
	b := runConfigured(t, dsn, c)
	b.eventually("the janitor has run", func() bool { return b.Status(t.Context()).Retention.Runs > 0 })
	return b
}

func (b *bundle) kept(table string) int {
	b.t.Helper()
	return b.count(`SELECT count(*) FROM pgmq.` + table)
}

func testQueueArchive(value string, kept int) keyTest {
	return func(t *testing.T, key string) {
		b := pruned(t, conf{key: value})
		require.Equal(t, kept, b.kept("a_a_queue"))
		require.Equal(t, kept, b.kept("a_b_queue"))
		require.Equal(t, 10, b.kept("a_results"), "not the archive of a namespace's queue")
		require.Equal(t, 10, b.kept("a_a_dead"), "not the archive of a namespace's queue")
		require.Equal(t, 10, b.kept("q_a_dead"), "dead letters are no archive")

		require.Equal(t, float64(10-kept), b.metrics()[`stephost_retention_deleted_total{kind="archive",queue="a_queue"}`])
		status := b.Status(t.Context()).Retention
		require.Len(t, status.Rules, 2)
		require.Equal(t, uint64(10-kept), status.Rules[1].Deleted)
		require.NotZero(t, status.LastRunAt)
	}
}

func testNamespaceArchive(value string, kept int, unlimited string) func(t *testing.T, key string) {
	return func(t *testing.T, key string) {
		b := pruned(t, conf{key: value})
		require.Equal(t, kept, b.kept("a_a_queue"))
		require.Equal(t, 10, b.kept("a_b_queue"))

		// It lifts the limit of the queue block.
		_, name := cutDot(key)
		b = pruned(t, conf{key: unlimited, "queue." + name: value})
		require.Equal(t, 10, b.kept("a_a_queue"))
		require.Equal(t, kept, b.kept("a_b_queue"))
	}
}

func testDeadLetterRetain(t *testing.T, key string) {
	b := pruned(t, conf{key: `"7d"`})
	require.Equal(t, 7, b.kept("q_a_dead"))
	require.Equal(t, 10, b.kept("q_b_dead"))
	require.Equal(t, 10, b.kept("a_a_queue"))
	require.Equal(t, float64(3), b.metrics()[`stephost_retention_deleted_total{kind="dead_letters",queue="a_dead"}`])
}

// TestNothingIsDeletedThatNobodyAskedToDelete: without these keys there is no
// rule, and the janitor does not even ask the database.
func TestNothingIsDeletedThatNobodyAskedToDelete(t *testing.T) {
	t.Parallel()
	dsn := newDatabase(t)
	days(t, dsn)
	b := runConfigured(t, dsn, conf{})
	b.send("a_queue", `{}`)
	b.results(1)
	require.Empty(t, b.Status(t.Context()).Retention.Rules)
	require.Zero(t, b.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'stephost prune%'`))
	require.Equal(t, 11, b.kept("a_a_queue"))
	require.Equal(t, 10, b.kept("q_a_dead"))
}
