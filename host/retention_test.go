package host_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReloadChangesWhatIsKept: a limit that is added, or taken away, takes
// effect in the running host.
func TestReloadChangesWhatIsKept(t *testing.T) {
	t.Parallel()
	dsn := newDatabase(t)
	days(t, dsn)
	b := startOn(t, dsn, settings{})
	program, err := testPlugin()
	require.NoError(t, err)

	b.write(settings{queue: `archive { retain = "7d" }`, a: "archive {\nretain = \"2d\"\n}"}.file(dsn, program))
	report, err := b.Reload(t.Context())
	require.NoError(t, err)
	require.Empty(t, report.Restart)
	b.eventually("what is old is deleted", func() bool { return b.kept("a_a_queue") == 2 && b.kept("a_b_queue") == 7 })

	b.write(settings{}.file(dsn, program))
	_, err = b.Reload(t.Context())
	require.NoError(t, err)
	require.Empty(t, b.Status(t.Context()).Retention.Rules)
}

// TestHostDrainsWhileItDeletes: the janitor holds up nobody's end.
func TestHostDrainsWhileItDeletes(t *testing.T) {
	t.Parallel()
	dsn := newDatabase(t)
	execute(t, dsn, `INSERT INTO pgmq.a_a_queue (msg_id, vt, archived_at) SELECT i, now(), now() - interval '1 day' FROM generate_series(1, 200000) i`)
	b := startOn(t, dsn, settings{queue: `archive { retain = "1h" }`})
	b.eventually("it deletes", func() bool { return b.Status(t.Context()).Retention.Rules[0].Deleted > 0 })
	b.drained()
	left := b.kept("a_a_queue")
	require.Positive(t, left)
	require.Less(t, left, 200000)
}
