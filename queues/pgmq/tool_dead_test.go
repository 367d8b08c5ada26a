package pgmq

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// bury dead-letters the oldest message of a queue.
func (b *bundle) bury(queue, dead string, change ...func(*queues.Record)) queues.Delivery {
	b.t.Helper()
	d := b.claimOne(queue)
	record := d.Record.AddError(queues.ErrorEntry{At: d.ClaimedAt, Attempt: 1, Type: "CardError", Message: "card declined", Stack: "charge.go:12"})
	record.Failures = 5
	record.Dead = &queues.Dead{Reason: queues.DeadAttemptsSpent, Error: "card declined", Namespace: "shop", Plugin: "shop", Step: "charge", Deliveries: d.Epoch}
	for _, c := range change {
		c(&record)
	}
	b.mustEnd(d.Lease, queues.DeadLetter{Queue: dead, Record: record})
	return d
}

// dead lists the ids in a dead-letter queue that a filter chooses.
func (b *bundle) dead(queue string, which DeadFilter) []int64 {
	b.t.Helper()
	list, err := b.DeadList(b.t.Context(), queue, which, 0, 1000)
	require.NoError(b.t, err)
	ids := make([]int64, len(list))
	for i, m := range list {
		ids[i] = m.ID
	}
	return ids
}

func (b *bundle) replay(which DeadFilter, opts ReplayOptions) DeadReport {
	b.t.Helper()
	report, err := b.DeadReplay(b.t.Context(), "orders_dead", which, opts)
	require.NoError(b.t, err)
	return report
}

// beside is one more connection, for what happens at the same time.
func (b *bundle) beside() *pgx.Conn {
	b.t.Helper()
	conn, err := pgx.Connect(b.t.Context(), b.dsn)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestReplayKeepsHistoryAndKeyAndStartsTheBudgetAnew(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders")
		b.send("orders", `{"n": 1}`, `{"n": 2}`)
		first, second := b.bury("orders", "orders_dead"), b.bury("orders", "orders_dead", func(r *queues.Record) {
			r.Crashes, r.Suspicion, r.Accounted = 2, 3, 4
		})
		report := b.replay(DeadFilter{}, ReplayOptions{})
		require.Equal(t, DeadReport{Queue: "orders_dead", Total: 2, Seen: 2, Done: 2, To: map[string]int64{"orders": 2}}, report)
		require.Zero(t, b.count("pgmq.q_orders_dead"))
		claimed := b.claim("orders", 3)
		require.Len(t, claimed, 2)
		for i, was := range []queues.Delivery{first, second} {
			now := claimed[i]
			require.Equal(t, was.Body, now.Body)
			require.Equal(t, queues.Epoch(1), now.Epoch)
			r := now.Record
			require.Equal(t, [5]int{0, 0, 0, 0, 1}, [...]int{r.Failures, r.Crashes, r.Suspicion, int(r.Accounted), r.Replays})
			require.Nil(t, r.Dead)
			require.Len(t, r.Errors, 1, "the history")
			require.Equal(t, "charge.go:12", r.Errors[0].Stack)
			require.Equal(t, queues.Origin{Queue: "orders", ID: was.ID, EnqueuedAt: was.EnqueuedAt}.IdempotencyKey(), r.Origin.IdempotencyKey())
		}

		// It dies again and is replayed again: the first origin and all of the
		// history stay.
		b.mustEnd(claimed[0].Lease, queues.Release{Record: claimed[0].Record})
		b.bury("orders", "orders_dead")
		b.replay(DeadFilter{}, ReplayOptions{})
		again := b.claimOne("orders").Record
		require.Equal(t, first.ID, again.Origin.ID)
		require.Equal(t, 2, again.Replays)
		require.Len(t, again.Errors, 2)
		if !b.layouts.get("orders").headers {
			require.Equal(t, 2, b.count("stephost.bookkeeping WHERE queue = 'orders'"))
			require.Equal(t, 2, b.count("stephost.bookkeeping"), "bookkeeping stayed behind")
		}
	})
}

func TestReplayKeepsForeignHeadersAndBodiesAsTheyAre(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.Upgraded)
	b.create("orders")
	b.exec(`INSERT INTO pgmq.q_orders (vt, message, headers) VALUES (clock_timestamp(), NULL, '{"x": 1}'), (clock_timestamp(), '[1.50, "\u00e9"]', '[2]')`)
	b.bury("orders", "orders_dead")
	b.bury("orders", "orders_dead")
	b.replay(DeadFilter{}, ReplayOptions{})
	require.Equal(t, 1, b.count(`pgmq.q_orders WHERE message IS NULL AND headers ->> 'x' = '1' AND headers #>> '{stephost,replays}' = '1'`))
	require.Equal(t, 1, b.count(`pgmq.q_orders WHERE message::text = '[1.50, "é"]' AND headers #>> '{stephost,headers}' = '[2]'`))
}

// A letter between two layouts: bookkeeping moves to where the other table
// keeps it.
func TestReplayBetweenLayouts(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_5)
	b.create("orders", "orders_dead")
	b.send("orders", `1`, `2`)
	b.bury("orders", "orders_dead")
	b.exec(`ALTER TABLE pgmq.q_orders DROP COLUMN headers`)
	b.layouts.drop("orders")
	require.Equal(t, int64(1), b.replay(DeadFilter{}, ReplayOptions{}).Done)
	require.Equal(t, 1, b.count("stephost.bookkeeping WHERE queue = 'orders' AND (record ->> 'replays') = '1'"))
	b.exec(`ALTER TABLE pgmq.q_orders_dead DROP COLUMN headers`)
	b.layouts.drop("orders_dead")
	b.bury("orders", "orders_dead")
	b.exec(`ALTER TABLE pgmq.q_orders ADD COLUMN headers jsonb`)
	b.layouts.drop("orders")
	require.Equal(t, int64(1), b.replay(DeadFilter{}, ReplayOptions{}).Done)
	require.Equal(t, 1, b.count(`pgmq.q_orders WHERE headers #>> '{stephost,origin,queue}' = 'orders'`))
}

func TestDeadFilters(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders", "payments")
		b.send("orders", `1`, `2`)
		b.send("payments", `3`)
		b.bury("orders", "dead")
		b.bury("orders", "dead", func(r *queues.Record) {
			r.Dead.Reason, r.Dead.Error, r.Dead.Step, r.Errors[0].Type = queues.DeadPermanent, "Timeout (30 s)\nof 100% it's \\", "refund", "net.Error"
		})
		b.bury("payments", "dead", func(r *queues.Record) { r.Dead.Namespace = "billing" })
		b.send("dead", `"somebody's"`)
		b.exec(`UPDATE pgmq.q_dead SET enqueued_at = timestamptz '2026-01-01 00:00Z' + msg_id * interval '1 hour'`)
		if !b.layouts.get("dead").headers {
			b.exec(`UPDATE stephost.bookkeeping SET enqueued_at = timestamptz '2026-01-01 00:00Z' + msg_id * interval '1 hour'`)
		}
		at := func(hour int) time.Time { return time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC) }
		for name, tc := range map[string]struct {
			which DeadFilter
			want  []int64
		}{
			"all":          {DeadFilter{}, []int64{1, 2, 3, 4}},
			"origin":       {DeadFilter{Origin: "orders"}, []int64{1, 2}},
			"namespace":    {DeadFilter{Namespace: "billing"}, []int64{3}},
			"step":         {DeadFilter{Step: "refund"}, []int64{2}},
			"reason":       {DeadFilter{Reason: queues.DeadAttemptsSpent}, []int64{1, 3}},
			"text":         {DeadFilter{ErrorText: "timeout (30"}, []int64{2}},
			"no wildcards": {DeadFilter{ErrorText: "100%"}, []int64{2}},
			"a wildcard":   {DeadFilter{ErrorText: "%"}, []int64{2}},
			"backslash":    {DeadFilter{ErrorText: `it's \`}, []int64{2}},
			"type":         {DeadFilter{ErrorText: "NET.E"}, []int64{2}},
			"pattern":      {DeadFilter{ErrorPattern: `^Time.*\d+`}, []int64{2}},
			"and the type": {DeadFilter{ErrorPattern: `(?n)^net\.Error$`}, []int64{2}},
			"since":        {DeadFilter{Since: at(3)}, []int64{3, 4}},
			"until":        {DeadFilter{Until: at(3)}, []int64{1, 2}},
			"ids":          {DeadFilter{IDs: []IDRange{{2, 3}, {9, 9}}}, []int64{2, 3}},
			"ranges":       {DeadFilter{IDs: []IDRange{{3, 9}}}, []int64{3, 4}},
			"single ids":   {DeadIDs(4, 1), []int64{1, 4}},
			"together":     {DeadFilter{Origin: "orders", Reason: queues.DeadAttemptsSpent, Since: at(0), IDs: []IDRange{{1, 4}}}, []int64{1}},
		} {
			require.ElementsMatch(t, tc.want, b.dead("dead", tc.which), name)
			found, err := b.DeadCount(t.Context(), "dead", tc.which)
			require.NoError(t, err, name)
			require.Equal(t, int64(len(tc.want)), found.Count, name)
		}
	})
}

// Whatever stands in somebody else's headers, no filter stumbles over it.
func TestFiltersTakeAnyHeaders(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("dead")
	for _, headers := range []string{`null`, `[]`, `"x"`, `1`, `{"stephost": 7}`, `{"stephost": []}`, `{"stephost": {"v": 99, "dead": "x", "errors": 3, "origin": [1]}}`,
		`{"stephost": {"dead": {"reason": {}, "error": [1], "at": "never"}, "errors": [[]], "origin": {"queue": {}, "msg_id": "x"}}}`} {
		b.exec(`INSERT INTO pgmq.q_dead (vt, message, headers) VALUES (clock_timestamp(), '1', $1::text::jsonb)`, headers)
	}
	b.exec(`INSERT INTO pgmq.q_dead (vt, message, headers) SELECT clock_timestamp(), '1', jsonb_build_object('stephost', jsonb_build_object('dead', jsonb_build_object('reason', 'permanent')), 'x', string_agg(md5(i::text), '')) FROM generate_series(1, 40000) i`)
	require.Len(t, b.dead("dead", DeadFilter{}), 9)
	require.Empty(t, b.dead("dead", DeadFilter{Origin: "orders", Namespace: "n", Step: "s", Reason: queues.DeadPermanent, ErrorText: "e", ErrorPattern: "p"}))
	require.Equal(t, []int64{9}, b.dead("dead", DeadFilter{Reason: queues.DeadPermanent}), "a record among headers that are too large for a claim")
	report, err := b.DeadReplay(t.Context(), "dead", DeadFilter{}, ReplayOptions{})
	require.NoError(t, err)
	require.Zero(t, report.Done)
	require.Equal(t, []DeadSkip{{Reason: SkipNoOrigin, Count: 9, IDs: []int64{1, 2, 3, 4, 5, 6, 7, 8, 9}}}, report.Skipped)
}

// Numbers of a few bytes are long as text, and many of them too long for
// PostgreSQL to write.
func TestDeadLettersThatAreTooLongAsTextAreListed(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("dead")
	b.exec(`INSERT INTO pgmq.q_dead (vt, message, headers)
		SELECT clock_timestamp(), '1', CASE n WHEN 1 THEN endless WHEN 2 THEN jsonb_build_object('stephost', endless) END
		FROM generate_series(1, 3) n, LATERAL (SELECT jsonb_agg(1e131000) AS endless FROM generate_series(1, 8300)) e`)
	b.exec(`INSERT INTO pgmq.q_dead (vt, message) SELECT clock_timestamp(), jsonb_agg(1e131000) FROM generate_series(1, 8300)`)
	list, err := b.DeadList(t.Context(), "dead", DeadFilter{}, 0, 10)
	require.NoError(t, err)
	require.Len(t, list, 4)
	require.Nil(t, list[0].Headers)
	require.Nil(t, list[1].Headers)
	require.Nil(t, list[3].Body)
	report, err := b.DeadReplay(t.Context(), "dead", DeadFilter{}, ReplayOptions{})
	require.NoError(t, err)
	require.Equal(t, []DeadSkip{{Reason: SkipNoOrigin, Count: 4, IDs: []int64{1, 2, 3, 4}}}, report.Skipped)
	report, err = b.DeadDiscard(t.Context(), "dead", DeadFilter{}, DiscardOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(4), report.Done)
}

func TestMalformedPatternIsSaidSo(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("dead")
	var pattern *PatternError
	_, err := b.DeadList(t.Context(), "dead", DeadFilter{ErrorPattern: "(("}, 0, 1)
	require.ErrorAs(t, err, &pattern, "also where there is nothing to match")
	require.ErrorContains(t, err, `"((" is no regular expression: `)
	_, err = b.DeadReplay(t.Context(), "dead", DeadFilter{ErrorPattern: "(("}, ReplayOptions{})
	require.ErrorAs(t, err, &pattern)
}

func TestListGoesOnAfterAnID(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("dead")
	b.send("dead", `1`, `2`, `3`, fmt.Sprintf("%q", strings.Repeat("x", listedBodyLimit)), fmt.Sprintf("%q", rarelyRepeats(listedBodyLimit)))
	list, err := b.DeadList(t.Context(), "dead", DeadFilter{}, 1, 2)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 3}, []int64{list[0].ID, list[1].ID})
	list, err = b.DeadList(t.Context(), "dead", DeadFilter{}, 3, 10)
	require.NoError(t, err)
	require.Len(t, list, 2)
	for _, large := range list {
		require.Nil(t, large.Body, "a list carries no large bodies")
		require.Positive(t, large.BodyBytes)
		whole, err := b.DeadShow(t.Context(), "dead", large.ID)
		require.NoError(t, err)
		require.Len(t, whole.Body, listedBodyLimit+2)
	}
}

// rarelyRepeats is a text that does not compress to nothing.
func rarelyRepeats(size int) string {
	var text strings.Builder
	for i := 0; text.Len() < size; i++ {
		fmt.Fprintf(&text, "%x.", i*i*7919)
	}
	return text.String()[:size]
}

func TestEachReadsAllThatAreThereInPages(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("dead")
	b.exec(`INSERT INTO pgmq.q_dead (vt, message) SELECT clock_timestamp(), to_jsonb(i) FROM generate_series(1, $1::int) i`, 2*eachPage+1)
	// Two of these do not fit into a page together.
	b.exec(`INSERT INTO pgmq.q_dead (vt, message) SELECT clock_timestamp(), jsonb_build_object('s', string_agg(md5(n || '.' || i), '')) FROM generate_series(1, 3) n, generate_series(1, $1::int) i GROUP BY n`, eachBytes/2/32)
	var ids []int64
	err := b.DeadEach(t.Context(), "dead", DeadFilter{}, func(m DeadMessage) error {
		if len(ids) == 0 {
			b.send("dead", `"later"`)
		}
		require.NotEmpty(t, m.Body)
		ids = append(ids, m.ID)
		return nil
	})
	require.NoError(t, err)
	require.Len(t, ids, 2*eachPage+4, "all, and none that came later")
	require.IsIncreasing(t, ids)
	large, err := b.deadPage(t.Context(), "dead", deadPage{after: 2*eachPage + 1, limit: eachPage, bytes: eachBytes})
	require.NoError(t, err)
	require.Len(t, large, 1, "one at a time")
}

func TestDiscard(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders", "orders_dead")
		b.send("orders", `1`, `2`, `3`)
		for range 3 {
			b.bury("orders", "orders_dead")
		}
		report, err := b.DeadDiscard(t.Context(), "orders_dead", DeadIDs(1, 7), DiscardOptions{})
		require.NoError(t, err)
		require.Equal(t, DeadReport{Queue: "orders_dead", Total: 1, Seen: 1, Done: 1, Absent: []int64{7}}, report)
		require.Equal(t, 1, b.count(`pgmq.a_orders_dead WHERE msg_id = 1 AND message = '1' AND archived_at IS NOT NULL`))
		if b.layouts.get("orders_dead").headers {
			require.Equal(t, 1, b.count(`pgmq.a_orders_dead WHERE headers #>> '{stephost,dead,error}' = 'card declined'`), "the archive says why")
		} else {
			require.Equal(t, 2, b.count("stephost.bookkeeping"))
		}
		report, err = b.DeadDiscard(t.Context(), "orders_dead", DeadFilter{}, DiscardOptions{DeadSweep: DeadSweep{Through: ThroughNone}})
		require.NoError(t, err)
		require.Equal(t, DeadReport{Queue: "orders_dead", Total: 2}, report, "they came after somebody had looked")
		report, err = b.DeadDiscard(t.Context(), "orders_dead", DeadFilter{}, DiscardOptions{Delete: true})
		require.NoError(t, err)
		require.Equal(t, int64(2), report.Done)
		require.Zero(t, b.count("pgmq.q_orders_dead"))
		require.Equal(t, 1, b.count("pgmq.a_orders_dead"))
		if !b.layouts.get("orders_dead").headers {
			require.Zero(t, b.count("stephost.bookkeeping"))
		}
		_, err = b.DeadDiscard(t.Context(), "nobody", DeadFilter{}, DiscardOptions{})
		require.ErrorIs(t, err, queues.ErrQueueMissing)
	})
}

func TestDryRunsChangeNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("orders", "gone")
	b.send("orders", `1`, `2`, `3`)
	b.send("gone", `4`)
	for range 3 {
		b.bury("orders", "orders_dead")
	}
	b.bury("gone", "orders_dead")
	b.send("orders_dead", `5`)
	b.claimOne("orders_dead")
	_, err := b.DropQueue(t.Context(), "gone")
	require.NoError(t, err)
	report := b.replay(DeadFilter{}, ReplayOptions{DeadSweep: DeadSweep{DryRun: true}})
	require.Equal(t, int64(5), report.Total)
	require.Equal(t, map[string]int64{"orders": 2}, report.To)
	require.Equal(t, int64(2), report.Done)
	reasons := map[SkipReason]int64{}
	for _, s := range report.Skipped {
		reasons[s.Reason] = s.Count
	}
	require.Equal(t, map[SkipReason]int64{SkipLeased: 1, SkipNoQueue: 1, SkipNoOrigin: 1}, reasons)
	discarded, err := b.DeadDiscard(t.Context(), "orders_dead", DeadFilter{}, DiscardOptions{DeadSweep: DeadSweep{DryRun: true}})
	require.NoError(t, err)
	require.Equal(t, int64(4), discarded.Done)
	require.Equal(t, 5, b.count("pgmq.q_orders_dead"))
	require.Zero(t, b.count("pgmq.q_orders"))
}
