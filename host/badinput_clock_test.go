package host_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
)

// The clocks of host and database are more than a day apart, in either direction:
// nothing is run early, late, twice or not at all, and every time that is written
// is the database's.
func TestClocksThatAreADayApart(t *testing.T) {
	t.Parallel()
	for name, offset := range map[string]time.Duration{"the host's is behind": 26 * time.Hour, "the host's is ahead": -26 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := devpgtest.ShiftedCluster(t, offset).DSN("postgres")
			conn, err := pgx.Connect(t.Context(), dsn)
			require.NoError(t, err)
			require.NoError(t, fill(t.Context(), conn))
			var shifted time.Time
			require.NoError(t, conn.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&shifted))
			require.NoError(t, conn.Close(context.Background()))
			require.WithinDuration(t, time.Now().Add(offset), shifted, time.Hour, "the database's clock is another")

			b := startOn(t, dsn, settings{
				events: `fallback_poller {
					polling_interval   = "100ms"
					visibility_timeout = "1s"
				}`,
				a: `retry {
					initial = "300ms"
					max_attempts = 2
				}`,
			})
			// A handler that outlives its lease, a failure that is retried later, one that
			// is final, a message that becomes due, and one that does not.
			b.send("a_queue", fmt.Sprintf(`{"log": %q, "ms": 2500}`, b.path("slow")), fmt.Sprintf(`{"log": %q, "fail": "no luck"}`, b.path("failing")),
				`{"fail": "for good", "permanent": true}`)
			b.sql(`SELECT pgmq.send('a_queue', jsonb_build_object('log', $1::text), 1)`, b.path("due"))
			b.sql(`SELECT pgmq.send('a_queue', jsonb_build_object('log', $1::text), 3600)`, b.path("later"))
			b.results(4)
			require.Len(t, b.runs("slow"), 1, "its lease was extended")
			require.Len(t, b.runs("failing"), 2)
			require.Len(t, b.runs("due"), 1)
			require.Empty(t, b.runs("later"))
			require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.q_a_queue`))
			require.Zero(t, b.count(`SELECT count(*) FROM pgmq.a_a_queue WHERE read_ct > 1`))
			require.Equal(t, 1, b.count(`SELECT count(*) FROM pgmq.a_a_queue WHERE message->>'log' LIKE '%due' AND archived_at >= enqueued_at + interval '1 second'`))
			require.Equal(t, 4, b.count(`SELECT count(*) FROM pgmq.q_results WHERE
				abs(extract(epoch FROM (message #>> '{metadata,enqueued_at}')::timestamptz - clock_timestamp())) < 3600 AND
				abs(extract(epoch FROM (message #>> '{metadata,started_at}')::timestamptz - clock_timestamp())) < 3600 AND
				abs(extract(epoch FROM (message #>> '{metadata,completed_at}')::timestamptz - clock_timestamp())) < 3600`))
			require.Equal(t, 2, b.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE
				abs(extract(epoch FROM (headers #>> '{stephost,errors,0,at}')::timestamptz - clock_timestamp())) < 3600 AND
				abs(extract(epoch FROM (headers #>> '{stephost,dead,at}')::timestamptz - clock_timestamp())) < 3600`))
			status := b.Status(t.Context())
			require.Equal(t, "Healthy", status.Health.Status, status.Health.Reasons)
			require.Less(t, b.namespace("a").OldestWait.Duration(), time.Hour)
		})
	}
}
