package host_test

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues/pgmq"
)

// A privilege that goes missing while the host runs makes it say, in its health,
// which GRANT to run. With that GRANT, and nothing else done, it goes on where it
// was. The whole time a namespace that does not need the privilege is not
// disturbed.
func TestEachMissingGrantIsNamedByARunningHost(t *testing.T) {
	t.Parallel()
	dsn := newDatabase(t)
	admin, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	database := admin.Config().ConnConfig.Database
	role := database + "_host"
	exec := func(format string, args ...any) {
		t.Helper()
		_, err := admin.Exec(t.Context(), fmt.Sprintf(format, args...))
		require.NoError(t, err)
	}
	exec(`CREATE ROLE %s LOGIN; REVOKE ALL ON DATABASE %s FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC;
		REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA pgmq FROM PUBLIC; REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC`, role, database)
	t.Cleanup(func() {
		_, err := admin.Exec(context.Background(), fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", role))
		require.NoError(t, err)
		admin.Close()
	})
	work := pgmq.Workload{Consume: []string{"a_queue"}, Send: []string{"results"}, Dead: []string{"a_dead"}}
	needed, err := pgmq.Privileges(t.Context(), admin, work, pgmq.HostTasks()...)
	require.NoError(t, err)
	rest, err := pgmq.Privileges(t.Context(), admin, pgmq.Workload{Consume: []string{"b_queue"}, Dead: []string{"b_dead"}}, pgmq.HostTasks()...)
	require.NoError(t, err)
	for _, grant := range pgmq.Grants(role, append(needed, rest...)) {
		exec("%s", grant)
	}
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	u.User = url.User(role)
	b := startOn(t, u.String(), settings{
		events: `
			listener { retry_interval = "50ms" }
			fallback_poller {
				polling_interval   = "100ms"
				visibility_timeout = "5s"
			}`,
		a: `retry {
			initial = "1ms"
			max     = "1ms"
			jitter  = 0
			max_attempts = 2
		}`,
	})
	b.db.Close()
	b.db = admin

	grantPattern := regexp.MustCompile(`run (GRANT .+? TO ` + role + `)\b`)
	complaint := func() (reason, grant string) {
		for _, reason := range b.Status(t.Context()).Health.Reasons {
			if found := grantPattern.FindStringSubmatch(reason); found != nil {
				return reason, found[1]
			}
		}
		return "", ""
	}
	done, healthy := 0, 0
	for _, one := range needed {
		// Without the count of the dead letters it lacks a metric, and works.
		if one.Right == "" || slices.Equal(one.Tasks, []pgmq.Task{pgmq.TaskCount}) {
			continue
		}
		exec("%s", one.Revoke(role))
		if one.Kind != pgmq.Table {
			// What is asked when a session begins is asked anew.
			exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '%s'`, role)
		}
		b.send("a_queue", `{}`, `{"fail": "for good", "permanent": true}`, `{"fail": "twice"}`)
		done += 3
		if strings.Contains(one.Object, "_queue") || strings.Contains(one.Object, "a_dead") || strings.Contains(one.Object, "results") {
			b.send("b_queue", bodies(5, `{}`)...)
			healthy += 5
			b.eventually("the namespace beside it is not disturbed without "+one.String(), func() bool { return b.Settled(t.Context(), "b") == uint64(healthy) })
		}
		var reason, grant string
		b.eventually("the host names the grant of "+one.String(), func() bool {
			reason, grant = complaint()
			return grant != ""
		})
		require.Contains(t, grant, one.Right, "%s: %s", one, reason)
		if strings.HasPrefix(one.Object, "pgmq.") && one.Kind == pgmq.Table {
			require.Regexp(t, `\ba: |"a_queue"`, reason, "the namespace or its queue is named")
		}
		exec("%s", grant)
		b.eventually("everything is done with "+grant, func() bool { return b.count(`SELECT count(*) FROM pgmq.q_results`) == done })
		b.eventually("the host is healthy again", func() bool { return b.Status(t.Context()).Health.Status == "Healthy" })
	}
	b.results(done)
	require.Equal(t, 2*done/3, b.count(`SELECT count(*) FROM pgmq.q_a_dead`))
	require.Equal(t, done/3, b.count(`SELECT count(*) FROM pgmq.a_a_queue`))
	require.Zero(t, b.count(`SELECT count(*) FROM pgmq.q_a_queue`))
}
