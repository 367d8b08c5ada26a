package host_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues/pgmq"
)

// Which privilege is needed for what, and that each is, the tests of
// queues/pgmq show; this one that nothing else is needed by a whole host.
func TestAHostRunsWithItsPrivilegesAlone(t *testing.T) {
	t.Parallel()
	dsn := newDatabase(t)
	admin, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	exec := func(sql string) {
		t.Helper()
		_, err := admin.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	database := admin.Config().ConnConfig.Database
	role := database + "_host"
	exec(fmt.Sprintf(`CREATE ROLE %s LOGIN; REVOKE ALL ON DATABASE %s FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC;
		REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA pgmq FROM PUBLIC; REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC`, role, database))
	t.Cleanup(func() {
		_, err := admin.Exec(context.Background(), fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", role))
		require.NoError(t, err)
		admin.Close()
	})
	needed, err := pgmq.Privileges(t.Context(), admin, pgmq.Workload{
		Consume: []string{"a_queue", "b_queue"},
		Send:    []string{"results", "b_queue"},
		Dead:    []string{"a_dead", "b_dead"},
	}, pgmq.HostTasks()...)
	require.NoError(t, err)
	for _, grant := range pgmq.Grants(role, needed) {
		exec(grant)
	}
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	u.User = url.User(role)

	b := startOn(t, u.String(), settings{
		events: `fallback_poller {
			polling_interval   = "50ms"
			visibility_timeout = "1s"
		}`,
		a: `retry { initial = "1ms" }`, b: `result_queue = "results"`,
	})
	b.db.Close()
	b.db = admin
	slow := fmt.Sprintf(`{"log": %q, "until": %q}`, b.path("log"), b.path("go"))
	b.send("a_queue", `{"next": "b"}`, `{"fail": "as asked"}`, slow)
	// The lease of the slow one is extended at least once.
	b.eventually("two ends and the emitted message's", func() bool { return b.count(`SELECT count(*) FROM pgmq.q_results`) == 3 })
	b.eventually("a lease was extended", func() bool {
		return b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE vt > last_read_at + interval '1100 ms'`) == 1
	})
	b.touch("go")
	b.results(4)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_dead`))
	require.Equal(t, 3, b.count(`SELECT (SELECT count(*) FROM pgmq.a_a_queue) + (SELECT count(*) FROM pgmq.a_b_queue)`))
	require.Len(t, b.runs("log"), 1)
	b.drained()
	require.NotContains(t, b.logs.String(), "permission denied")
}
