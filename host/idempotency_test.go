package host_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues/pgmq"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// keys are the idempotency keys that handlers were told, one for each execution.
func (b *bundle) keys(path string) []string {
	b.t.Helper()
	data, err := os.ReadFile(path)
	if !os.IsNotExist(err) {
		require.NoError(b.t, err)
	}
	return strings.Fields(string(data))
}

// told waits for the n-th execution and tells that its key is that of all
// others.
func (b *bundle) told(path string, n int) (key string) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("execution %d", n), func() bool { return len(b.keys(path)) >= n })
	keys := b.keys(path)
	require.Len(b.t, keys, n)
	for _, key := range keys {
		require.Equal(b.t, keys[0], key)
	}
	return keys[0]
}

// layouts are the databases in which the bookkeeping travels in different ways.
func layouts() map[string]func(t *testing.T) (dsn string) {
	return map[string]func(t *testing.T) string{
		"headers": newDatabase,
		"side table": func(t *testing.T) string {
			return devpgtest.New(t, devpgtest.Template("host without headers", func(ctx context.Context, conn *pgx.Conn) error {
				if err := pgmqtest.Install(ctx, conn, pgmqtest.V1_4); err != nil {
					return err
				}
				_, err := conn.Exec(ctx, `SELECT pgmq.create(q) FROM unnest(ARRAY['a_queue','a_dead','b_queue','b_dead','results']) q`)
				return err
			}))
		},
	}
}

// TestKeyIsThatOfTheMessageWhateverHappensToIt takes one message through all
// that makes a handler run again.
func TestKeyIsThatOfTheMessageWhateverHappensToIt(t *testing.T) {
	t.Parallel()
	for name, newDatabase := range layouts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := newDatabase(t)
			first := startOn(t, dsn, settings{
				host: `shutdown {
  drain_timeout = "0s"
  kill_timeout = "2s"
}`,
				plugin: `restart {
  backoff_initial = "1ms"
}`,
				a: `retry {
  max_attempts = 2
  initial = "1ms"
  max = "1ms"
}`,
			})
			log, until := first.path("keys"), first.path("go")
			first.sql(`SELECT pgmq.send('a_queue', jsonb_build_object('keys', $1::text, 'until', $2::text, 'fail', 'as asked'))`, log, until)
			key := first.told(log, 1)
			require.Regexp(t, `^a_queue/1/\d{16}$`, key)

			// A crash of the plugin.
			require.NoError(t, syscall.Kill(first.plugin().Instances[0].PID, syscall.SIGKILL))
			first.told(log, 2)

			// A lease that was lost to another host, which spells the queue its own way.
			second := startOn(t, dsn, settings{a: `queue = "A_Queue"
retry {
  max_attempts = 2
  initial = "1ms"
  max = "1ms"
}`})
			first.sql(`UPDATE pgmq.q_a_queue SET vt = clock_timestamp() - interval '1 hour', read_ct = read_ct + 1`)
			second.told(log, 3)

			// The end of a host.
			first.drained()

			// Two failures, the second one after a retry; then the dead letters.
			first.touch("go")
			second.told(log, 4)
			second.results(1)

			// A replay, with a fresh budget, and once more.
			broker, err := pgmq.Open(t.Context(), pgmq.Options{DSN: dsn})
			require.NoError(t, err)
			defer broker.Close()
			for replay := range 2 {
				letters, err := broker.DeadList(t.Context(), "a_dead", pgmq.DeadFilter{}, 0, 2)
				require.NoError(t, err)
				require.Len(t, letters, 1)
				require.Equal(t, key, letters[0].Record.Origin.IdempotencyKey())
				_, err = broker.DeadReplay(t.Context(), "a_dead", pgmq.DeadFilter{}, pgmq.ReplayOptions{})
				require.NoError(t, err)
				second.told(log, 6+2*replay)
				second.eventually("it is dead again", func() bool { return second.kept("q_a_dead") == 1 })
			}
			require.Equal(t, 3, second.count(`SELECT count(*) FROM pgmq.q_results WHERE message->>'idempotency_key' = $1`, key), "the results tell it too")
		})
	}
}

// TestKeyIsNotThatOfAMessageInAQueueOfTheSameName: ids begin again when a queue
// is created anew.
func TestKeyIsNotThatOfAMessageInAQueueOfTheSameName(t *testing.T) {
	t.Parallel()
	for name, newDatabase := range layouts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startOn(t, newDatabase(t), settings{})
			keys := make(map[string]bool)
			const rounds = 3
			for n := 1; n <= rounds; n++ {
				log := b.path(fmt.Sprintf("keys-%d", n))
				b.sql(`SELECT pgmq.send('a_queue', jsonb_build_object('keys', $1::text))`, log)
				key := b.told(log, 1)
				require.True(t, strings.HasPrefix(key, "a_queue/1/"), key)
				keys[key] = true
				b.eventually("it is settled", func() bool { return b.Settled(t.Context(), "a") == uint64(n) })
				b.sql(`SELECT pgmq.drop_queue('a_queue')`)
				b.sql(`SELECT pgmq.create('a_queue')`)
			}
			require.Len(t, keys, rounds)
		})
	}
}
