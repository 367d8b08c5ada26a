package schema_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestNewQueuesAnnounce(t *testing.T) {
	t.Parallel()
	d := installed(t)
	require.Equal(t, []string{"(q,50)"}, d.text("SELECT queue_name, throttle_interval_ms FROM pgmq.list_notify_insert_throttles()"))
	count := d.listen("q")
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	require.Equal(t, 1, count())
}

func TestOneNotificationForEachStatement(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec("SELECT pgmq.enable_notify_insert('q', 0)")
	count := d.listen("q")
	d.exec(`SELECT pgmq.send_batch('q', array_agg(to_jsonb(n))) FROM generate_series(1, 50) n`)
	require.Equal(t, 1, count())
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	require.Equal(t, 2, count())

	tx, err := d.conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT pgmq.send('q', '1'::jsonb)`)
	require.NoError(t, err)
	require.NoError(t, tx.Rollback(t.Context()))
	require.Zero(t, count(), "what was rolled back is not announced")
}

func TestThrottleAnnouncesTheFirst(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec("SELECT pgmq.enable_notify_insert('q', 3600000)")
	count := d.listen("q")
	other := d.connect()
	for range 3 {
		d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
		_, err := other.Exec(t.Context(), `SELECT pgmq.send('q', '1'::jsonb)`)
		require.NoError(t, err)
	}
	require.Equal(t, 1, count())
	d.exec("SELECT pgmq.update_notify_insert('q', 0)")
	third := d.connect()
	_, err := third.Exec(t.Context(), `SELECT pgmq.send('q', '1'::jsonb)`)
	require.NoError(t, err)
	require.Equal(t, 1, count(), "a session that knows nothing of the old interval")
}

func TestRolledBackAnnouncementDoesNotSilenceTheNext(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec("SELECT pgmq.enable_notify_insert('q', 3600000)")
	count := d.listen("q")
	tx, err := d.conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT pgmq.send('q', '1'::jsonb)`)
	require.NoError(t, err)
	require.NoError(t, tx.Rollback(t.Context()))
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	require.Equal(t, 1, count())
}

func TestOpenProducerNeitherStallsNorSilencesOthers(t *testing.T) {
	t.Parallel()
	d := installed(t)
	count := d.listen("q")
	open, err := d.connect().Begin(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, open.Rollback(t.Context())) }()
	_, err = open.Exec(t.Context(), `SELECT pgmq.send('q', '1'::jsonb)`)
	require.NoError(t, err)

	// A producer that waited for the open transaction would fail here.
	d.exec("SET lock_timeout = '1ms'")
	d.exec(`SELECT pgmq.send('q', '2'::jsonb)`)
	require.Equal(t, 1, count())
}

func TestThrottleFailsNoSerializableProducer(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec("SELECT pgmq.enable_notify_insert('q', 1)")
	tx, err := d.connect().BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT 1")
	require.NoError(t, err)
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	_, err = tx.Exec(t.Context(), `SELECT pgmq.send('q', '2'::jsonb)`)
	require.NoError(t, err)
	require.NoError(t, tx.Commit(t.Context()))
}

func TestProducerNeedsNoRightsOnTheThrottle(t *testing.T) {
	t.Parallel()
	d := installed(t)
	role := "producer_" + d.conn.Config().Database
	d.exec("CREATE ROLE " + role + "; GRANT USAGE ON SCHEMA pgmq TO " + role + "; GRANT INSERT, SELECT ON pgmq.q_q TO " + role)
	count := d.listen("q")
	d.exec("SET ROLE " + role)
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	d.exec("RESET ROLE")
	require.Equal(t, 1, count())
}

func TestDisableAndEnable(t *testing.T) {
	t.Parallel()
	d := installed(t)
	count := d.listen("q")
	d.exec("SELECT pgmq.disable_notify_insert(queue_name => 'q')")
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	require.Zero(t, count())
	require.Empty(t, d.text("SELECT * FROM pgmq.list_notify_insert_throttles()"))

	d.exec("SELECT pgmq.enable_notify_insert(queue_name => 'q')")
	require.Equal(t, []string{"(q,250,t)"}, d.text("SELECT queue_name, throttle_interval_ms, last_notified_at = to_timestamp(0) FROM pgmq.list_notify_insert_throttles()"))
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	require.Equal(t, 1, count())
	d.exec("SELECT pgmq.enable_notify_insert(queue_name => 'q', throttle_interval_ms => 100)")
	require.Equal(t, []string{"(100,f)"}, d.text("SELECT throttle_interval_ms, last_notified_at = to_timestamp(0) FROM pgmq.list_notify_insert_throttles()"))

	d.refused("does not exist", "SELECT pgmq.enable_notify_insert('none', 1)")
	d.refused("does not exist", "SELECT pgmq.disable_notify_insert('none')")
	d.refused("has no notifications", "SELECT pgmq.update_notify_insert('none', 1)")
	d.refused("non-negative", "SELECT pgmq.enable_notify_insert('q', -1)")
}

// TestShortThrottleWritesNothing: what a lone message waits for.
func TestShortThrottleWritesNothing(t *testing.T) {
	t.Parallel()
	d := installed(t)
	count := d.listen("q")
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	last := d.text("SELECT last_notified_at FROM pgmq.list_notify_insert_throttles()")
	for range 3 {
		d.exec("SELECT pg_sleep(0.055)")
		d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	}
	require.Equal(t, 4, count())
	require.Equal(t, last, d.text("SELECT last_notified_at FROM pgmq.list_notify_insert_throttles()"))
}

// TestThrottleOf50msIsAShortOne although it is measured.
func TestThrottleOf50msIsAShortOne(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec(`DO $$
		DECLARE until timestamptz := clock_timestamp() + interval '30 s';
		BEGIN
			WHILE current_setting('pgmq.own_' || to_hex(hashtextextended('q_q', 0)), true) IS NULL LOOP
				PERFORM pgmq.send('q', '1'::jsonb), pg_sleep(0.051);
				ASSERT clock_timestamp() < until, 'the throttle is taken for a long one';
			END LOOP;
		END $$`)
}

// TestSessionThatKnowsNothing goes by itself from its first message on, and by the
// table when somebody else is announcing.
func TestSessionThatKnowsNothing(t *testing.T) {
	t.Parallel()
	d := installed(t)
	noted := "SELECT last_notified_at > to_timestamp(0) FROM pgmq.list_notify_insert_throttles()"
	count := d.listen("q")
	announcing, err := d.connect().Begin(t.Context())
	require.NoError(t, err)
	_, err = announcing.Exec(t.Context(), `SELECT pgmq.send('q', '1'::jsonb)`)
	require.NoError(t, err)
	require.Equal(t, []string{"(f)"}, d.text(noted))

	_, err = d.connect().Exec(t.Context(), `SELECT pgmq.send('q', '1'::jsonb)`)
	require.NoError(t, err)
	require.Equal(t, 1, count(), "the one that announces may roll back")
	require.Equal(t, []string{"(t)"}, d.text(noted))
	require.NoError(t, announcing.Commit(t.Context()))
	require.Equal(t, 1, count())
}

// TestSessionsThatMeet: no two announce at once. Who has announced a moment ago
// leaves it to the other one, for a while; then the table decides.
func TestSessionsThatMeet(t *testing.T) {
	t.Parallel()
	d := installed(t)
	noted := "SELECT last_notified_at > to_timestamp(0) FROM pgmq.list_notify_insert_throttles()"
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`) // has learned that the throttle is short
	announcing, err := d.connect().Begin(t.Context())
	require.NoError(t, err)
	_, err = announcing.Exec(t.Context(), `SELECT pg_advisory_xact_lock(1885826417, 'pgmq.q_q'::regclass::oid::integer)`)
	require.NoError(t, err)
	count := d.listen("q")
	own := func(set string) {
		d.exec(`SELECT set_config('pgmq.silent_' || to_hex(hashtextextended('q_q', 0)), '', false),
			set_config('pgmq.own_' || to_hex(hashtextextended('q_q', 0)), ` + set + `::text, false),
			pgmq.update_notify_insert('q', 50)`)
	}
	epoch := "extract(epoch FROM clock_timestamp())"

	own("ARRAY[" + epoch + " + 10, 3600, 0.0025, " + epoch + ", 0]")
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	require.Zero(t, count(), "two announce at once")
	require.Equal(t, []string{"(f)"}, d.text(noted))

	own("ARRAY[" + epoch + " + 10, 0.050, 0.0025, " + epoch + " - 0.1, 0]")
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	require.Equal(t, 1, count(), "nothing was announced that can be relied on")
	require.Equal(t, []string{"(t)"}, d.text(noted))
	require.NoError(t, announcing.Rollback(t.Context()))
}

// TestSessionThatHasGoneByItselfLongEnoughAsksTheTable, however lately it has
// announced: nobody else announces in its place.
func TestSessionThatHasGoneByItselfLongEnoughAsksTheTable(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	count := d.listen("q")
	d.exec(`SELECT set_config('pgmq.silent_' || to_hex(hashtextextended('q_q', 0)), '', false), pgmq.update_notify_insert('q', 50),
		set_config('pgmq.own_' || to_hex(hashtextextended('q_q', 0)), ARRAY[extract(epoch FROM clock_timestamp()) - 1, 3600, 0.0025, extract(epoch FROM clock_timestamp()), 0]::text, false)`)
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	require.Equal(t, 1, count())
}

// TestSessionThatMeetsAnotherForLongAnnouncesItself: what holds the other one up
// holds up nobody else's messages.
func TestSessionThatMeetsAnotherForLongAnnouncesItself(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	count := d.listen("q")
	announcing, err := d.connect().Begin(t.Context())
	require.NoError(t, err)
	_, err = announcing.Exec(t.Context(), `SELECT pg_advisory_xact_lock(1885826417, 'pgmq.q_q'::regclass::oid::integer)`)
	require.NoError(t, err)
	for announced, deadline := 0, time.Now().Add(30*time.Second); announced < 3; announced += count() {
		require.True(t, time.Now().Before(deadline), "its messages are not announced")
		d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	}
	require.NoError(t, announcing.Rollback(t.Context()))
}

// TestPaceFollowsTheProducer: the throttle is for producers that are busy.
func TestPaceFollowsTheProducer(t *testing.T) {
	t.Parallel()
	d := installed(t)
	pace := "(current_setting('pgmq.own_' || to_hex(hashtextextended('q_q', 0)))::numeric[])[3]"
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	d.exec("SELECT pg_sleep(0.1)")
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	count := d.listen("q")
	d.exec("SELECT pg_sleep(0.006)") // less than the throttle
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	require.Equal(t, 1, count())

	d.exec(`DO $$
		DECLARE until timestamptz := clock_timestamp() + interval '30 s';
		BEGIN
			WHILE ` + pace + ` < 0.045 LOOP
				PERFORM pgmq.send('q', '1'::jsonb);
				ASSERT clock_timestamp() < until, 'a busy producer is not throttled';
			END LOOP;
		END $$`)
	d.exec("SELECT pg_sleep(0.12)")
	d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
	require.Equal(t, []string{"(t)"}, d.text("SELECT "+pace+" < 0.003"))
}

// TestSettingsOfTheSessionSilenceNothing: numbers are kept as text.
func TestSettingsOfTheSessionSilenceNothing(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec("SET extra_float_digits = -15; SET bytea_output = 'escape'; SET DateStyle = 'German, DMY'; SET TimeZone = 'Pacific/Chatham'; SET IntervalStyle = 'sql_standard'")
	count := d.listen("q")
	for range 3 {
		d.exec(`SELECT pgmq.send('q', '1'::jsonb)`)
		d.exec("SELECT pg_sleep(0.06)")
	}
	require.Equal(t, 3, count())
	require.Equal(t, []string{"(t)"}, d.text("SELECT abs((current_setting('pgmq.own_' || to_hex(hashtextextended('q_q', 0)))::numeric[])[4] - extract(epoch FROM clock_timestamp())) < 60"))
}
