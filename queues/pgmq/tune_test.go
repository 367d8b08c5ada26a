package pgmq

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// overPGMQ runs a test on each layout that is not ours.
func overPGMQ(t *testing.T, test func(t *testing.T, b *bundle)) {
	t.Helper()
	for _, l := range pgmqtest.Layouts() {
		t.Run(string(l), func(t *testing.T) {
			t.Parallel()
			test(t, setup(t, l))
		})
	}
}

func (b *bundle) tuning(queue string) Tuning {
	b.t.Helper()
	t, err := b.QueueTuning(b.t.Context(), queue)
	require.NoError(b.t, err)
	return t
}

func TestQueuesThatWeCreateAreTuned(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("jobs")
		require.Empty(t, b.tuning("jobs").Missing)
		require.Len(t, b.tuning("jobs").Ours, len(queueSettings())+len(archiveSettings()))
		require.Equal(t, 1, b.count(`pg_class WHERE oid = 'pgmq.q_jobs'::regclass
			AND reloptions @> '{autovacuum_vacuum_scale_factor=0.01,autovacuum_vacuum_threshold=100,autovacuum_vacuum_cost_delay=0}'`))
		require.Equal(t, 1, b.count(`pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = 'pgmq.a_jobs'::regclass
			AND t.reloptions @> '{autovacuum_vacuum_insert_scale_factor=0.02}'`))
	})
}

// TestOurSchemaTunesWhateverCreatesAQueue: with our schema, pgmq.create is ours
// too.
func TestOurSchemaTunesWhateverCreatesAQueue(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.exec(`SELECT pgmq.create('jobs')`)
	require.Empty(t, b.tuning("jobs").Missing)
	require.Empty(t, b.tuning("jobs").Others)
}

func TestOtherQueuesAreTunedWhenAskedTo(t *testing.T) {
	t.Parallel()
	overPGMQ(t, func(t *testing.T, b *bundle) {
		b.exec(`SELECT pgmq.create('jobs')`)
		created, err := b.CreateQueue(t.Context(), "jobs")
		require.NoError(t, err)
		require.False(t, created)
		missing := b.tuning("jobs").Missing
		require.Len(t, missing, len(queueSettings())+len(archiveSettings()), "what exists is left alone")

		set, err := b.TuneQueue(t.Context(), "JOBS")
		require.NoError(t, err)
		require.Equal(t, missing, set)
		require.Empty(t, b.tuning("jobs").Missing)
		set, err = b.TuneQueue(t.Context(), "jobs")
		require.NoError(t, err)
		require.Empty(t, set)

		taken, err := b.ResetQueueTuning(t.Context(), "jobs")
		require.NoError(t, err)
		require.Equal(t, missing, taken)
		require.Equal(t, Tuning{Missing: missing}, b.tuning("jobs"))
		for _, s := range missing {
			b.exec(s.String()) // as doctor would tell it
		}
		require.Empty(t, b.tuning("jobs").Missing)
	})
}

func TestTuningKeepsWhatSomebodyHasChosen(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.exec(`SELECT pgmq.create('jobs')`)
	b.exec(`ALTER TABLE pgmq.q_jobs SET (autovacuum_vacuum_threshold = 77, toast.autovacuum_vacuum_threshold = 78, fillfactor = 90)`)
	set, err := b.TuneQueue(t.Context(), "jobs")
	require.NoError(t, err)
	require.Len(t, set, len(queueSettings())+len(archiveSettings())-2)
	require.Equal(t, []StorageSetting{
		{`"pgmq"."q_jobs"`, "autovacuum_vacuum_threshold", "77"},
		{`"pgmq"."q_jobs"`, "toast.autovacuum_vacuum_threshold", "78"},
	}, b.tuning("jobs").Others)
	_, err = b.ResetQueueTuning(t.Context(), "jobs")
	require.NoError(t, err)
	require.Len(t, b.tuning("jobs").Others, 2)
	require.Equal(t, 1, b.count(`pg_class WHERE oid = 'pgmq.q_jobs'::regclass AND reloptions = '{autovacuum_vacuum_threshold=77,fillfactor=90}'`))
}

// TestTuningHoldsUpNobody: producers and handlers write all the time.
func TestTuningHoldsUpNobody(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.exec(`SELECT pgmq.create('jobs')`)
	tx, err := b.db.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), `SELECT pgmq.send('jobs', '{}')`)
	require.NoError(t, err)
	set, err := b.TuneQueue(t.Context(), "jobs")
	require.NoError(t, err)
	require.NotEmpty(t, set)

	// A vacuum that somebody runs is waited for, but not for ever.
	_, err = tx.Exec(t.Context(), `LOCK TABLE pgmq.q_jobs IN SHARE UPDATE EXCLUSIVE MODE`)
	require.NoError(t, err)
	_, err = b.ResetQueueTuning(t.Context(), "jobs")
	require.ErrorContains(t, err, `reset queue "jobs": somebody works on its tables, try again`)
	require.Empty(t, b.tuning("jobs").Missing)
}

func TestTuningSaysWhoMay(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.exec(`CREATE ROLE tune_owner_test`)
	t.Cleanup(func() {
		_, err := b.db.Exec(context.Background(), `REASSIGN OWNED BY tune_owner_test TO CURRENT_USER; DROP OWNED BY tune_owner_test; DROP ROLE tune_owner_test`)
		require.NoError(t, err)
	})
	b.exec(`GRANT CREATE, USAGE ON SCHEMA pgmq TO tune_owner_test; GRANT ALL ON ALL TABLES IN SCHEMA pgmq TO tune_owner_test`)
	b.exec(`SELECT pgmq.create('jobs')`)
	user := open(t, withParameter(t, b.dsn, "role", "tune_owner_test"))
	_, err := user.TuneQueue(t.Context(), "jobs")
	var not *NotOwnerError
	require.ErrorAs(t, err, &not)
	require.Equal(t, "pgmq.q_jobs", not.Table)
	require.Equal(t, "tune_owner_test", not.User)
	require.NotEqual(t, not.Owner, not.User)

	// Such a queue can be created all the same.
	b.exec(`ALTER FUNCTION pgmq.create(text) SECURITY DEFINER`)
	b.exec(`ALTER FUNCTION pgmq.enable_notify_insert(text, int) SECURITY DEFINER`)
	created, err := user.CreateQueue(t.Context(), "others")
	require.NoError(t, err)
	require.True(t, created)
	require.NotEmpty(t, b.tuning("others").Missing)
}

func TestTuningOfNoOrdinaryQueueIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	_, err := b.TuneQueue(t.Context(), "jobs")
	require.ErrorIs(t, err, queues.ErrQueueMissing)
	b.exec(`CREATE TABLE pgmq.q_jobs (msg_id bigint, message jsonb) PARTITION BY RANGE (msg_id)`)
	_, err = b.TuneQueue(t.Context(), "jobs")
	require.ErrorIs(t, err, ErrQueuePartitioned)
}
