package host_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
)

// A server that crashed may have forgotten claims, whose epochs it then hands
// out again: what a host holds is asserted at once and not when it is due.
func TestEveryLeaseIsAssertedAfterARestartOfTheServer(t *testing.T) {
	t.Parallel()
	cluster := devpgtest.Cluster(t, nil)
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, cluster.DSN("postgres"))
	require.NoError(t, err)
	require.NoError(t, fill(ctx, conn))
	require.NoError(t, conn.Close(ctx))
	b := startOn(t, cluster.DSN("postgres"), settings{events: `
		listener { retry_interval = "20ms" }
		fallback_poller {
			polling_interval   = "50ms"
			visibility_timeout = "1h"
		}`, a: `timeout = "1h"`})
	for _, name := range []string{"kept", "forgotten"} {
		b.send("a_queue", fmt.Sprintf(`{"log": %q, "until": %q}`, b.path(name), b.path("go")))
		b.eventually("the handler runs", func() bool { return len(b.runs(name)) == 1 })
	}
	// What the crash would do to a claim that is not on the disk, but for the
	// time at which the message is visible: this is not about its redelivery.
	b.sql(`UPDATE pgmq.q_a_queue SET read_ct = 0 WHERE msg_id = 2`)
	// A new claim would move it, too, and have another epoch.
	lease := func() (until time.Time) {
		require.NoError(t, b.db.QueryRow(ctx, `SELECT vt FROM pgmq.q_a_queue WHERE msg_id = 1 AND read_ct = 1`).Scan(&until))
		return until
	}
	leased := lease()

	cluster.Crash()
	require.NoError(t, cluster.Restart(ctx))
	b.eventually("the database answers again", func() bool { return b.db.Ping(ctx) == nil })
	b.eventually("the lease that is kept is asserted", func() bool { return lease().After(leased) })
	b.eventually("the handler of the forgotten one is told to stop", func() bool {
		return b.count(`SELECT count(*) FROM pgmq.q_a_queue WHERE msg_id = 2 AND read_ct = 0`) == 1 && strings.Contains(b.logs.String(), "leases lost: the handlers are told to stop")
	})
	b.touch("go")
	b.results(1)
}
