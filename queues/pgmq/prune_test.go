package pgmq

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// archived fills a queue's archive with n rows, one for each hour back from now;
// the first of them is the newest.
func (b *bundle) archived(queue string, n int) {
	b.t.Helper()
	b.exec(fmt.Sprintf(`INSERT INTO pgmq.a_%s (msg_id, vt, message, archived_at)
		SELECT i, now(), jsonb_build_object('text', repeat('x', 200)), now() - i * interval '1 hour' FROM generate_series(1, %d) i`, queue, n))
}

// pruned deletes all that a pass finds, in chunks of two.
func (b *bundle) pruned(p *Pass, err error) (total int64) {
	b.t.Helper()
	require.NoError(b.t, err)
	for {
		n, more, err := p.Delete(b.t.Context(), 2)
		require.NoError(b.t, err)
		require.LessOrEqual(b.t, n, int64(2))
		total += n
		if !more {
			return total
		}
	}
}

func (b *bundle) prunedArchive(queue string, keep ArchiveLimits) int64 {
	b.t.Helper()
	return b.pruned(b.PruneArchive(b.t.Context(), queue, keep))
}

func (b *bundle) ids(table string) (ids []int64) {
	b.t.Helper()
	rows, err := b.db.Query(b.t.Context(), `SELECT msg_id FROM `+table+` ORDER BY 1`)
	require.NoError(b.t, err)
	ids, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(b.t, err)
	return ids
}

func TestPruneArchiveKeepsWhatIsWithinTheLimits(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("jobs")
		b.archived("jobs", 20)
		require.Zero(t, b.prunedArchive("jobs", ArchiveLimits{}))
		require.Zero(t, b.prunedArchive("jobs", ArchiveLimits{Age: 24 * time.Hour, Rows: 20, Bytes: 1 << 30}))
		require.Equal(t, int64(5), b.prunedArchive("jobs", ArchiveLimits{Age: 15*time.Hour + time.Minute}))
		require.Equal(t, int64(5), b.prunedArchive("jobs", ArchiveLimits{Rows: 10}))
		require.Equal(t, int64(4), b.prunedArchive("jobs", ArchiveLimits{Age: 9 * time.Hour, Rows: 6}), "the strictest limit decides")
		require.Equal(t, int64(2), b.prunedArchive("jobs", ArchiveLimits{Age: 4*time.Hour + time.Minute, Rows: 5}), "the strictest limit decides")
		require.Equal(t, []int64{1, 2, 3, 4}, b.ids("pgmq.a_jobs"))
		require.Zero(t, b.prunedArchive("jobs", ArchiveLimits{Rows: 4}))
	})
}

func TestPruneArchiveByRowsCountsWithinABatchToo(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("jobs")
	b.exec(`INSERT INTO pgmq.a_jobs (msg_id, vt, archived_at) SELECT i, now(), now() - (i / 5) * interval '1 hour' FROM generate_series(0, 19) i`)
	require.Equal(t, int64(13), b.prunedArchive("jobs", ArchiveLimits{Rows: 7}))
	require.Equal(t, []int64{0, 1, 2, 3, 4, 8, 9}, b.ids("pgmq.a_jobs"))
	require.Zero(t, b.prunedArchive("jobs", ArchiveLimits{Rows: 7}))
}

func TestPruneArchiveBySizeEnds(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("jobs")
		b.archived("jobs", 1000)
		keep := ArchiveLimits{Bytes: 100 << 10}
		pass, err := b.PruneArchive(t.Context(), "jobs", keep)
		require.NoError(t, err)
		deleted, more, err := pass.Delete(t.Context(), 10_000)
		require.NoError(t, err)
		require.False(t, more)
		left := b.count("pgmq.a_jobs")
		require.Equal(t, 1000, left+int(deleted))
		// A row has 213 bytes of body and what the row itself takes.
		require.InDelta(t, 100<<10, left*(213+rowOverhead), 10<<10)
		require.Zero(t, b.prunedArchive("jobs", keep), "the same sample of the same rows")
		b.exec(`VACUUM pgmq.a_jobs`)
		require.Zero(t, b.prunedArchive("jobs", keep), "what a vacuum frees is not counted")
	})
}

// TestPruneArchiveBySizeIsNotMovedByChance: the size of a row is that of a
// sample, and another sample with every pass would delete a little each time.
func TestPruneArchiveBySizeIsNotMovedByChance(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("jobs")
	b.exec(`INSERT INTO pgmq.a_jobs (msg_id, vt, message, archived_at)
		SELECT i, now(), to_jsonb(repeat('x', 100 + (hashint4(i / 20) & 1) * 1300)), now() - i * interval '1 second' FROM generate_series(1, 10000) i`)
	prune := func() int64 {
		pass, err := b.PruneArchive(t.Context(), "jobs", ArchiveLimits{Bytes: 4 << 20})
		require.NoError(t, err)
		deleted, _, err := pass.Delete(t.Context(), 10_000)
		require.NoError(t, err)
		return deleted
	}
	require.Positive(t, prune())
	for prune() > 0 { // the mean of what is left is another one
	}
	require.InDelta(t, 4<<20, b.count("pgmq.a_jobs")*(750+rowOverhead), 0.3*(4<<20), "of about 750 bytes each")
	for range 10 {
		require.Zero(t, prune())
	}
}

func TestPruneArchivePassesOverWhatIsLocked(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("jobs")
	b.archived("jobs", 4)
	tx, err := b.db.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM pgmq.a_jobs WHERE msg_id = 3 FOR UPDATE`)
	require.NoError(t, err)
	require.Equal(t, int64(2), b.prunedArchive("jobs", ArchiveLimits{Rows: 1}))
	require.NoError(t, tx.Commit(t.Context()))
	require.Equal(t, []int64{1, 3}, b.ids("pgmq.a_jobs"))
	require.Equal(t, int64(1), b.prunedArchive("jobs", ArchiveLimits{Rows: 1}))
}

// TestPruneWaitsForNoLock: whoever locks the table is not waited for, and is
// not joined by a queue of others who wait behind us.
func TestPruneWaitsForNoLock(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("jobs")
	b.archived("jobs", 4)
	pass, err := b.PruneArchive(t.Context(), "jobs", ArchiveLimits{Rows: 1})
	require.NoError(t, err)
	tx, err := b.db.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE pgmq.a_jobs`)
	require.NoError(t, err)
	_, _, err = pass.Delete(t.Context(), 10)
	require.Equal(t, "55P03", sqlState(err), err)
	require.ErrorContains(t, err, `prune the archive of queue "jobs"`)
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, int64(3), b.pruned(pass, nil))
}

func TestOneHostAtATimePrunes(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("jobs")
	b.archived("jobs", 4)
	other := open(t, b.dsn)
	pass, err := b.PruneArchive(t.Context(), "jobs", ArchiveLimits{Rows: 1})
	require.NoError(t, err)
	require.NoError(t, other.pruning(t.Context(), time.Minute, func(pgx.Tx) error {
		_, _, err := pass.Delete(t.Context(), 10)
		require.ErrorIs(t, err, ErrPruning)
		_, err = b.PruneArchive(t.Context(), "jobs", ArchiveLimits{Rows: 1})
		require.ErrorIs(t, err, ErrPruning)
		_, err = b.PruneDeadLetters(t.Context(), "jobs", time.Hour)
		require.ErrorIs(t, err, ErrPruning)
		return nil
	}))
	require.Equal(t, int64(3), b.pruned(pass, nil))
}

func TestPruneRefusesAnArchiveThatItWouldHaveToReadWhole(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("jobs")
	b.exec(`DROP INDEX pgmq.archived_at_idx_jobs`)
	_, err := b.PruneArchive(t.Context(), "jobs", ArchiveLimits{Rows: 1})
	var missing *MissingIndexError
	require.ErrorAs(t, err, &missing)
	require.ErrorContains(t, err, `run CREATE INDEX CONCURRENTLY ON "pgmq"."a_jobs" (archived_at)`)
	b.exec(`CREATE INDEX CONCURRENTLY ON "pgmq"."a_jobs" (archived_at)`)
	require.Zero(t, b.prunedArchive("jobs", ArchiveLimits{Rows: 1}))
}

func TestPruneRefusesAPartitionedArchive(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("jobs")
	b.exec(`DROP TABLE pgmq.a_jobs`)
	b.exec(`CREATE TABLE pgmq.a_jobs (msg_id bigint, vt timestamptz, message jsonb, headers jsonb, archived_at timestamptz) PARTITION BY RANGE (msg_id)`)
	_, err := b.PruneArchive(t.Context(), "jobs", ArchiveLimits{Rows: 1})
	require.ErrorIs(t, err, ErrArchivePartitioned)
	require.ErrorContains(t, err, "pg_partman")
}

func TestPruneSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	_, err := b.PruneArchive(t.Context(), "jobs", ArchiveLimits{Rows: 1})
	require.ErrorIs(t, err, queues.ErrQueueMissing)
	_, err = b.PruneDeadLetters(t.Context(), "jobs", time.Hour)
	require.ErrorIs(t, err, queues.ErrQueueMissing)
	b.create("jobs")
	b.exec(`DROP TABLE pgmq.a_jobs`)
	require.Zero(t, b.prunedArchive("jobs", ArchiveLimits{Rows: 1}))
}

func TestPruneInEveryExecMode(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("jobs")
	b.archived("jobs", 20)
	for i, mode := range []string{"cache_describe", "describe_exec", "exec", "simple_protocol"} {
		other := open(t, withParameter(t, b.dsn, "default_query_exec_mode", mode))
		keep := ArchiveLimits{Age: 100 * time.Hour, Rows: int64(19 - i), Bytes: 1 << 30}
		require.Equal(t, int64(1), other.prunedArchive("jobs", keep), mode)
		require.Zero(t, other.pruned(other.PruneDeadLetters(t.Context(), "jobs", time.Hour)), mode)
	}
}

func TestPruneDeadLettersByAge(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("jobs", "jobs_dead")
		b.send("jobs", `{"n": 1}`, `{"n": 2}`, `{"n": 3}`, `{"n": 4}`)
		for _, d := range b.claim("jobs", 4) {
			record := d.Record
			record.Dead = &queues.Dead{Reason: "test"}
			b.mustEnd(d.Lease, queues.DeadLetter{Queue: "jobs_dead", Record: record})
		}
		b.exec(`UPDATE pgmq.q_jobs_dead SET enqueued_at = enqueued_at - interval '2 days' WHERE msg_id <= 3`)
		if !b.layoutOf("jobs_dead").headers {
			b.exec(`UPDATE stephost.bookkeeping SET enqueued_at = enqueued_at - interval '2 days' WHERE msg_id <= 3`)
		}
		b.exec(`UPDATE pgmq.q_jobs_dead SET vt = now() + interval '1 hour' WHERE msg_id = 2`)
		require.Zero(t, b.pruned(b.PruneDeadLetters(t.Context(), "jobs_dead", 72*time.Hour)))
		require.Equal(t, int64(2), b.pruned(b.PruneDeadLetters(t.Context(), "jobs_dead", 24*time.Hour)))
		require.Equal(t, []int64{2, 4}, b.ids("pgmq.q_jobs_dead"), "one is leased, the other young")
		if !b.layoutOf("jobs_dead").headers {
			require.Equal(t, 2, b.count("stephost.bookkeeping"))
		}
	})
}

// layoutOf is what is known of a queue's tables.
func (b *bundle) layoutOf(queue string) *layout {
	b.t.Helper()
	known, err := b.layoutsOf(b.t.Context(), b.work, []string{queue})
	require.NoError(b.t, err)
	return known[queue]
}

// TestChunksOfALargeArchiveUseTheIndex: neither a chunk nor the look beforehand
// sorts or reads the table, and a chunk in the middle of a pass does not walk
// over the ones before it, also while somebody's snapshot keeps them.
func TestChunksOfALargeArchiveUseTheIndex(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("jobs")
	const rows = 1_000_000
	b.exec(fmt.Sprintf(`INSERT INTO pgmq.a_jobs (msg_id, vt, message, archived_at)
		SELECT i, now(), '{}', now() - (%d - i) * interval '1 second' FROM generate_series(1, %[1]d) i`, rows))
	b.exec(`VACUUM ANALYZE pgmq.a_jobs`)
	l := b.layoutOf("jobs")

	plan := b.explained(surveyRowsSQL(l), rows/2)
	require.NotContains(t, plan, "Seq Scan")
	require.Contains(t, plan, "Index Only Scan")

	snapshot, err := open(t, b.dsn).db.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	_, err = snapshot.Exec(t.Context(), `SELECT FROM pgmq.a_jobs LIMIT 1`)
	require.NoError(t, err)
	pass, err := b.PruneArchive(t.Context(), "jobs", ArchiveLimits{Rows: rows / 2})
	require.NoError(t, err)
	for range 20 {
		n, more, err := pass.Delete(t.Context(), 5000)
		require.NoError(t, err)
		require.True(t, more)
		require.Equal(t, int64(5000), n)
	}
	plan = b.explained(pass.sql, append([]any{1000}, pass.args...)...)
	require.NotContains(t, plan, "Seq Scan")
	require.NotContains(t, plan, "Sort")
	require.Regexp(t, `Index Scan using archived_at_idx_jobs on a_jobs \(.*rows=1000 `, plan)
	scan := regexp.MustCompile(`Index Scan using archived_at_idx_jobs .*\n.*\n.*\n? *Buffers: shared hit=(\d+)`).FindStringSubmatch(plan)
	require.NotNil(t, scan, plan)
	pages, err := strconv.Atoi(scan[1])
	require.NoError(t, err)
	require.Less(t, pages, 200, "pages that the scan of a chunk touches")
}

// explained is the plan of a statement that was executed and rolled back.
func (b *bundle) explained(sql string, args ...any) string {
	b.t.Helper()
	tx, err := b.db.Begin(b.t.Context())
	require.NoError(b.t, err)
	defer func() { require.NoError(b.t, tx.Rollback(context.Background())) }()
	rows, err := tx.Query(b.t.Context(), `EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, COSTS OFF) `+sql, args...)
	require.NoError(b.t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	return strings.Join(lines, "\n")
}
