package pgmq

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

func TestClaimLeases(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders")
		ids := b.send("orders", `{"n": 1}`, `{"n": 2}`, `{"n": 3}`)

		got := b.claim("orders", 2)
		require.Len(t, got, 2)
		require.Equal(t, []string{`{"n": 1}`, `{"n": 2}`}, bodies(got))
		require.Equal(t, queues.Lease{Queue: "orders", ID: ids[0], Epoch: 1, EnqueuedAt: got[0].EnqueuedAt}, got[0].Lease)
		require.False(t, got[0].EnqueuedAt.IsZero())
		require.False(t, got[0].ClaimedAt.Before(got[0].EnqueuedAt))
		require.Equal(t, got[0].Waited > 0, true)
		require.Equal(t, int64(8), got[0].Size)
		require.Len(t, b.claim("orders", 10), 1)
		require.Empty(t, b.claim("orders", 10))

		b.expire("orders")
		again := b.claim("orders", 10)
		require.Len(t, again, 3)
		require.Equal(t, queues.Epoch(2), again[0].Epoch)
	})
}

func TestClaimOfOneID(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	ids := b.send("orders", `{}`, `{}`)
	request := queues.ClaimRequest{Queue: "orders", ID: ids[1], Lease: time.Minute}

	got, err := b.Claim(t.Context(), request)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, ids[1], got[0].ID)
	got, err = b.Claim(t.Context(), request)
	require.NoError(t, err)
	require.Empty(t, got, "a leased message was claimed by its id")
}

func TestClaimFromMissingQueue(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_5)
	request := queues.ClaimRequest{Queue: "nobody", Limit: 1, Lease: time.Minute}
	_, err := b.Claim(t.Context(), request)
	require.ErrorIs(t, err, queues.ErrQueueMissing)

	b.create("nobody")
	require.Empty(t, b.claim("nobody", 1))
	b.exec("SELECT pgmq.drop_queue('nobody')")
	_, err = b.Claim(t.Context(), request)
	require.ErrorIs(t, err, queues.ErrQueueMissing, "the layout was known")
}

// A decode error after the claim would have leased the whole batch.
func TestClaimToleratesAnyHeaders(t *testing.T) {
	t.Parallel()
	for _, l := range []pgmqtest.Layout{pgmqtest.V1_5, pgmqtest.V1_10, pgmqtest.Upgraded} {
		t.Run(string(l), func(t *testing.T) {
			t.Parallel()
			b := setup(t, l)
			b.create("orders")
			for _, headers := range []string{
				`null`, `[1, 2]`, `"text"`, `7`, `{}`, `{"stephost": 3}`, `{"stephost": []}`, `{"stephost": {"failures": "many"}}`,
				`{"stephost": {"v": 99, "failures": 4}}`, `{"stephost": {"errors": [{"at": "never"}]}}`,
			} {
				b.exec("INSERT INTO pgmq.q_orders (vt, message, headers) VALUES (clock_timestamp(), '{}', $1::text::jsonb)", headers)
			}
			b.exec("INSERT INTO pgmq.q_orders (vt, message) VALUES (clock_timestamp(), NULL)")
			got := b.claim("orders", 100)
			require.Len(t, got, 11)
			for _, d := range got {
				require.Equal(t, queues.Record{}, d.Record)
			}
			require.Nil(t, got[10].Body)
			require.False(t, got[10].Deferred, "SQL NULL is not a deferred body")
		})
	}
}

func TestLargeBodiesAreDeferred(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders")
		// Random text is stored as it is, zeros are compressed to almost nothing,
		// and numbers grow when they are written out.
		large := fmt.Sprintf(`{"zeros": "%s"}`, strings.Repeat("0", 5<<20))
		b.exec(`INSERT INTO pgmq.q_orders (vt, message)
			SELECT clock_timestamp(), jsonb_build_object('random', string_agg(md5(random()::text), '')) FROM generate_series(1, 10000)`)
		b.send("orders", large, `[`+strings.Repeat(`1e100000,`, 5)+`1]`, `{"n": 1}`)

		got := b.claim("orders", 10)
		require.Len(t, got, 4)
		for _, d := range got[:3] {
			require.True(t, d.Deferred)
			require.Nil(t, d.Body)
		}
		require.Equal(t, `{"n": 1}`, string(got[3].Body))

		size, ok, err := b.BodySize(t.Context(), got[1].Lease)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, int64(len(large)), size)
		body, ok, err := b.Body(t.Context(), got[1].Lease)
		require.NoError(t, err)
		require.True(t, ok)
		require.True(t, bytes.Equal([]byte(large), body))

		lost := got[1].Lease
		lost.Epoch++
		_, ok, err = b.Body(t.Context(), lost)
		require.NoError(t, err)
		require.False(t, ok, "a body without its lease")
	})
}

// Numbers of ten bytes are a hundred thousand characters long as text.
func TestBodyThatIsTooLongAsTextStopsNobody(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	b.exec(`INSERT INTO pgmq.q_orders (vt, message) VALUES (clock_timestamp(), ('[' || repeat('1e131000,', 8300) || '1]')::jsonb)`)
	b.send("orders", `{"n": 1}`)
	got := b.claim("orders", 10)
	require.Len(t, got, 2)
	for i, want := range []int64{longestText, int64(len(`{"n": 1}`))} {
		require.True(t, got[i].Deferred)
		size, ok, err := b.BodySize(t.Context(), got[i].Lease)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, want, size)
	}
}

// The bookkeeping is all that is read of headers, and headers that are no object
// become part of it.
func TestHeadersThatAreTooLongAsTextStopNobody(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	for _, headers := range []string{`'[' || repeat('1e131000,', 8300) || '1]'`, `'[' || repeat('1e-16000,', 68000) || '1]'`, `'{"stephost": [' || repeat('1e131000,', 8300) || '1]}'`} {
		b.exec(`INSERT INTO pgmq.q_orders (vt, message, headers) VALUES (clock_timestamp(), '{}', (` + headers + `)::jsonb)`)
	}
	b.send("orders", `{}`)
	b.exec(`INSERT INTO pgmq.q_orders (vt, message, headers) VALUES (clock_timestamp(), '{}', '{"others": 1e131000, "stephost": {"v": 1, "failures": 3}}')`)
	carefully := func(req queues.ClaimRequest) []queues.Delivery {
		known, err := b.layoutsOf(t.Context(), b.work, []string{"orders"})
		require.NoError(t, err)
		// As the failure of a claim does: it takes seconds to fail.
		known["orders"].careful.Store(true)
		req.Queue, req.Lease = "orders", time.Hour
		got, err := b.Claim(t.Context(), req)
		require.NoError(t, err)
		return got
	}
	got := carefully(queues.ClaimRequest{Limit: 10})
	require.Len(t, got, 5)
	for i, d := range got {
		require.Equal(t, i < 3, d.HeadersTooLarge, i)
		require.True(t, d.Deferred, i)
	}
	require.Equal(t, 3, got[4].Record.Failures)
	b.mustEnd(got[0].Lease, queues.Release{})
	require.True(t, carefully(queues.ClaimRequest{ID: got[0].ID})[0].HeadersTooLarge)
}

// What takes longer than a claim may would take as long the next time.
func TestClaimThatTookTooLongIsDoneCarefully(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	b.send("orders", `{"n": 1}`, `{"n": 2}`)
	lock, err := b.db.Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), `LOCK TABLE pgmq.q_orders`)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = b.Claim(ctx, queues.ClaimRequest{Queue: "orders", Limit: 1, Lease: time.Hour})
	require.Error(t, err)
	require.NoError(t, lock.Rollback(t.Context()))
	carefully := b.claim("orders", 1)[0]
	require.True(t, carefully.Deferred, "a body is fetched alone")
	require.NotEqual(t, int64(len(`{"n": 1}`)), carefully.Size, "not even a small one was written")
	require.False(t, b.claim("orders", 1)[0].Deferred, "and only once")
}

func TestClaimersNeverShare(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10, func(o *Options) { o.MaxConnections = 16 })
	other := open(t, b.dsn)
	b.create("orders")
	const total = 2000
	b.exec(`INSERT INTO pgmq.q_orders (vt, message) SELECT clock_timestamp(), '{}' FROM generate_series(1, $1::int)`, total)

	var (
		mu   sync.Mutex
		seen = map[int64]int{}
		all  errgroup.Group
	)
	for _, broker := range []*Broker{b.Broker, other.Broker, b.Broker, other.Broker} {
		all.Go(func() error {
			for {
				got, err := broker.Claim(t.Context(), queues.ClaimRequest{Queue: "orders", Limit: 37, Lease: time.Hour})
				if err != nil || len(got) == 0 {
					return err
				}
				mu.Lock()
				for _, d := range got {
					seen[d.ID]++
				}
				mu.Unlock()
			}
		})
	}
	require.NoError(t, all.Wait())
	require.Len(t, seen, total)
	for id, n := range seen {
		require.Equal(t, 1, n, "message %d", id)
	}
}

// While claims come back full they start where the last one ended; a message
// that became visible before that point must still be found.
func TestLateMessagesAreFoundBehindTheFloor(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	var offset time.Duration
	b.floors.now = func() time.Time { return time.Unix(0, 0).Add(offset) }
	b.create("orders")
	late := func() {
		b.exec(`INSERT INTO pgmq.q_orders (vt, message) VALUES (clock_timestamp() - interval '1 hour', '"late"')`)
	}
	b.send("orders", `1`, `2`, `3`, `4`, `5`, `6`)

	require.Len(t, b.claim("orders", 2), 2)
	late()
	require.Equal(t, []string{`3`, `4`}, bodies(b.claim("orders", 2)), "the claim did not start at the floor")
	offset = sweepEvery
	require.Contains(t, bodies(b.claim("orders", 2)), `"late"`, "a second has passed")

	late()
	got, err := b.Claim(t.Context(), queues.ClaimRequest{Queue: "orders", Limit: 1, Lease: time.Minute, Sweep: true})
	require.NoError(t, err)
	require.Equal(t, []string{`"late"`}, bodies(got), "a sweep was asked for")

	b.send("orders", `7`)
	require.Len(t, b.claim("orders", 1), 1)
	late()
	require.Contains(t, bodies(b.claim("orders", 9)), `"late"`, "a short claim looks at everything")
}
