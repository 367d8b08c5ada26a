package pgmq

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// gated is three letters of orders, and a gate: while it is closed, a
// transaction that has put a message into the table waits before its end.
type gated struct {
	*bundle
	gate *pgx.Conn
}

func closeGate(t *testing.T, table string) *gated {
	t.Helper()
	dsn := withParameter(t, pgmqtest.New(t, pgmqtest.V1_10), "lock_timeout", "0")
	g := &gated{bundle: open(t, dsn)}
	g.create("orders", "orders_dead")
	g.send("orders", `1`, `2`, `3`)
	for range 3 {
		g.bury("orders", "orders_dead")
	}
	g.exec(`CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NEW; END $$`)
	g.exec(`CREATE TRIGGER gate BEFORE INSERT ON ` + table + ` FOR EACH ROW EXECUTE FUNCTION gate()`)
	g.gate = g.beside()
	_, err := g.gate.Exec(t.Context(), `SELECT pg_advisory_lock(7)`)
	require.NoError(t, err)
	return g
}

func (g *gated) open() {
	g.t.Helper()
	_, err := g.gate.Exec(g.t.Context(), `SELECT pg_advisory_unlock(7)`)
	require.NoError(g.t, err)
}

// waiting waits until so many of the broker's statements wait for a lock.
func (g *gated) waiting(n int) {
	g.t.Helper()
	require.Eventually(g.t, func() bool {
		return g.count(`pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'stephost%' AND wait_event_type = 'Lock'`) == n
	}, patience, time.Millisecond)
}

type swept struct {
	report DeadReport
	err    error
}

// behind runs a sweep that gets as far as the gate.
func (g *gated) behind(run func() (DeadReport, error)) <-chan swept {
	g.t.Helper()
	done := make(chan swept, 1)
	go func() {
		report, err := run()
		done <- swept{report, err}
	}()
	g.waiting(1)
	return done
}

func (g *gated) replayAll() (DeadReport, error) {
	return g.DeadReplay(g.t.Context(), "orders_dead", DeadFilter{}, ReplayOptions{})
}

func (g *gated) discardAll() (DeadReport, error) {
	return g.DeadDiscard(g.t.Context(), "orders_dead", DeadFilter{}, DiscardOptions{})
}

func requireAllTaken(t *testing.T, report DeadReport, err error) {
	t.Helper()
	require.NoError(t, err)
	require.Zero(t, report.Done)
	require.Equal(t, []DeadSkip{{Reason: SkipTaken, Count: 3, IDs: []int64{1, 2, 3}}}, report.Skipped)
}

func requireAllDone(t *testing.T, done <-chan swept) {
	t.Helper()
	got := <-done
	require.NoError(t, got.err)
	require.Equal(t, int64(3), got.report.Done)
	require.Empty(t, got.report.Skipped)
}

func TestTwoReplaysActOnce(t *testing.T) {
	t.Parallel()
	g := closeGate(t, "pgmq.q_orders")
	done := g.behind(g.replayAll)
	report, err := g.replayAll()
	requireAllTaken(t, report, err)
	g.open()
	requireAllDone(t, done)
	require.Equal(t, 3, g.count("pgmq.q_orders"))
	require.Zero(t, g.count("pgmq.q_orders_dead"))
}

func TestReplayAgainstDiscardActsOnce(t *testing.T) {
	t.Parallel()
	t.Run("the replay is first", func(t *testing.T) {
		t.Parallel()
		g := closeGate(t, "pgmq.q_orders")
		done := g.behind(g.replayAll)
		report, err := g.discardAll()
		requireAllTaken(t, report, err)
		g.open()
		requireAllDone(t, done)
		require.Equal(t, [3]int{3, 0, 0}, [...]int{g.count("pgmq.q_orders"), g.count("pgmq.q_orders_dead"), g.count("pgmq.a_orders_dead")})
	})
	t.Run("the discard is first", func(t *testing.T) {
		t.Parallel()
		g := closeGate(t, "pgmq.a_orders_dead")
		done := g.behind(g.discardAll)
		report, err := g.replayAll()
		requireAllTaken(t, report, err)
		g.open()
		requireAllDone(t, done)
		require.Equal(t, [3]int{0, 0, 3}, [...]int{g.count("pgmq.q_orders"), g.count("pgmq.q_orders_dead"), g.count("pgmq.a_orders_dead")})
	})
}

func TestReplayAgainstPurgeActsOnce(t *testing.T) {
	t.Parallel()
	t.Run("the replay is first", func(t *testing.T) {
		t.Parallel()
		g := closeGate(t, "pgmq.q_orders")
		done := g.behind(g.replayAll)
		purged := make(chan int64, 1)
		go func() {
			n, _ := g.Purge(g.t.Context(), "orders_dead")
			purged <- n
		}()
		g.waiting(2)
		g.open()
		requireAllDone(t, done)
		require.Zero(t, <-purged)
		require.Equal(t, 3, g.count("pgmq.q_orders"))
	})
	t.Run("the purge is first", func(t *testing.T) {
		t.Parallel()
		g := closeGate(t, "pgmq.q_orders")
		g.open()
		purge, err := g.beside().Begin(t.Context())
		require.NoError(t, err)
		_, err = purge.Exec(t.Context(), "DELETE FROM pgmq.q_orders_dead")
		require.NoError(t, err)
		report, err := g.replayAll()
		requireAllTaken(t, report, err)
		require.NoError(t, purge.Rollback(t.Context()))
		report, err = g.replayAll()
		require.NoError(t, err)
		require.Equal(t, int64(3), report.Done, "what was not purged after all is still there")
	})
}

// A letter that changes between the look and the move is left: by its epoch,
// by its lease, by its identity.
func TestSweepTakesOnlyWhatItHasSeen(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		for name, change := range map[string]string{
			"read and given back": `UPDATE pgmq.q_orders_dead SET read_ct = read_ct + 1`,
			"leased":              `UPDATE pgmq.q_orders_dead SET vt = clock_timestamp() + interval '1 minute'`,
			"another of its id":   `UPDATE pgmq.q_orders_dead SET enqueued_at = enqueued_at + interval '1 microsecond'`,
			"deleted":             `DELETE FROM pgmq.q_orders_dead`,
		} {
			for _, drop := range []string{"orders", "orders_dead"} {
				_, err := b.DropQueue(t.Context(), drop)
				require.NoError(t, err)
			}
			b.create("orders")
			b.send("orders", `1`)
			b.bury("orders", "orders_dead")
			before := b.count("pgmq.q_orders_dead")
			seen, err := (&sweep{b: b.Broker, report: DeadReport{Queue: "orders_dead"}}).candidates(t.Context(), 0, 1)
			require.NoError(t, err)
			require.Len(t, seen, 1)
			b.exec(change)
			after := b.count("pgmq.q_orders_dead")
			r := &replay{sweep: sweep{b: b.Broker, report: DeadReport{Queue: "orders_dead", To: map[string]int64{}}}}
			d := &discard{sweep: sweep{b: b.Broker, report: DeadReport{Queue: "orders_dead"}}}
			require.NoError(t, r.chunk(t.Context(), seen), name)
			require.NoError(t, d.chunk(t.Context(), seen), name)
			for _, report := range []DeadReport{r.report, d.report} {
				require.Zero(t, report.Done, name)
				require.Equal(t, []DeadSkip{{Reason: SkipTaken, Count: 1, IDs: []int64{1}}}, report.Skipped, name)
			}
			require.Equal(t, after, b.count("pgmq.q_orders_dead"), name)
			require.Zero(t, b.count("pgmq.q_orders"), name)
			require.Equal(t, 1, before)
		}
	})
}

// A consumer of the dead-letter queue that has read a letter keeps it, also
// while its transaction is open.
func TestLettersThatAConsumerHoldsAreLeft(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("orders")
	b.send("orders", `1`, `2`)
	b.bury("orders", "orders_dead")
	b.bury("orders", "orders_dead")
	consumer, err := b.beside().Begin(t.Context())
	require.NoError(t, err)
	_, err = consumer.Exec(t.Context(), `SELECT pgmq.read('orders_dead', 60, 1)`)
	require.NoError(t, err)
	report := b.replay(DeadFilter{}, ReplayOptions{})
	require.Equal(t, int64(1), report.Done)
	require.Equal(t, []DeadSkip{{Reason: SkipTaken, Count: 1, IDs: []int64{1}}}, report.Skipped)
	require.NoError(t, consumer.Commit(t.Context()))
	report = b.replay(DeadFilter{}, ReplayOptions{})
	require.Equal(t, []DeadSkip{{Reason: SkipLeased, Count: 1, IDs: []int64{1}}}, report.Skipped)
	held, err := b.DeadShow(t.Context(), "orders_dead", 1)
	require.NoError(t, err)
	require.True(t, held.Leased)
	require.Equal(t, int32(1), held.ReadCount)
	b.expire("orders_dead")
	require.Equal(t, int64(1), b.replay(DeadFilter{}, ReplayOptions{}).Done)
}

func TestReplayIsWholeOrNothing(t *testing.T) {
	t.Parallel()
	g := closeGate(t, "pgmq.q_orders")
	done := g.behind(g.replayAll)
	g.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'stephost%' AND wait_event_type = 'Lock'`)
	got := <-done
	require.ErrorContains(t, got.err, "messages 1 to 3 of \"orders_dead\": whether they were moved is not known")
	g.open()
	require.Zero(t, got.report.Done)
	require.Equal(t, 3, g.count("pgmq.q_orders_dead"))
	require.Zero(t, g.count("pgmq.q_orders"))
	report, err := g.replayAll()
	require.NoError(t, err)
	require.Equal(t, int64(3), report.Done)
}

func TestLetterThatTheQueueRefusesStaysAlone(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders")
		b.send("orders", `1`, `2`, `3`, `4`, `5`)
		for range 5 {
			b.bury("orders", "orders_dead")
		}
		b.exec(`ALTER TABLE pgmq.q_orders ADD CHECK (message <> '2' AND message <> '5')`)
		report := b.replay(DeadFilter{}, ReplayOptions{})
		require.Equal(t, int64(3), report.Done)
		require.Len(t, report.Skipped, 1)
		require.Equal(t, SkipRefused, report.Skipped[0].Reason)
		require.Equal(t, []int64{2, 5}, report.Skipped[0].IDs)
		require.ErrorContains(t, report.Skipped[0].Err, "violates check constraint")
		require.Equal(t, []int64{2, 5}, b.dead("orders_dead", DeadFilter{}))
		require.Equal(t, 3, b.count("pgmq.q_orders"))
	})
}

func TestInterruptedReplayFinishesWhatItHasBegun(t *testing.T) {
	t.Parallel()
	g := closeGate(t, "pgmq.q_orders")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := g.behind(func() (DeadReport, error) {
		return g.DeadReplay(ctx, "orders_dead", DeadFilter{}, ReplayOptions{DeadSweep: DeadSweep{Chunk: 2}})
	})
	cancel()
	g.open()
	got := <-done
	require.ErrorIs(t, got.err, context.Canceled)
	require.Equal(t, int64(2), got.report.Done, "the report knows how the transaction ended")
	require.Equal(t, int64(3), got.report.Total)
	require.Equal(t, 2, g.count("pgmq.q_orders"))
	require.Equal(t, []int64{3}, g.dead("orders_dead", DeadFilter{}))
}

// The end of the context comes between the look and the move.
func TestSweepMovesWhatItHasBegunToMove(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("orders")
	b.send("orders", `1`)
	b.bury("orders", "orders_dead")
	r := &replay{sweep: sweep{b: b.Broker, report: DeadReport{Queue: "orders_dead", To: map[string]int64{}}}}
	r.take = r.chunk
	seen, err := r.candidates(t.Context(), 0, 1)
	require.NoError(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, r.step(ended, seen))
	require.Equal(t, int64(1), r.report.Done)
	require.Equal(t, 1, b.count("pgmq.q_orders"))
}

func TestSweepPacesItselfAndLeavesWhatDiesAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("orders")
	b.send("orders", `1`, `2`, `3`)
	for range 3 {
		b.bury("orders", "orders_dead")
	}
	var (
		paces []int
		seen  []int64
	)
	report := b.replay(DeadFilter{}, ReplayOptions{DeadSweep: DeadSweep{
		Chunk:    2,
		Pace:     func(_ context.Context, n int) error { paces = append(paces, n); return nil },
		Progress: func(r DeadReport) { seen = append(seen, r.Seen); b.bury("orders", "orders_dead") },
	}})
	require.Equal(t, int64(3), report.Done)
	require.Equal(t, []int{2, 1}, paces)
	require.Equal(t, []int64{2, 3}, seen)
	require.Equal(t, []int64{4, 5}, b.dead("orders_dead", DeadFilter{}), "those that died again are for another time")
	report = b.replay(DeadFilter{}, ReplayOptions{DeadSweep: DeadSweep{Through: 4}})
	require.Equal(t, int64(1), report.Done)
}

func TestReplayOfManyMovesThemInChunks(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders")
		b.send("orders", `0`)
		b.bury("orders", "orders_dead")
		const many = 3*sweepChunk + 1
		if b.layouts.get("orders_dead").headers {
			b.exec(`INSERT INTO pgmq.q_orders_dead (vt, message, headers) SELECT vt, to_jsonb(i), headers FROM pgmq.q_orders_dead, generate_series(2, $1::int) i`, many)
		} else {
			b.exec(`INSERT INTO pgmq.q_orders_dead (vt, message) SELECT vt, to_jsonb(i) FROM pgmq.q_orders_dead, generate_series(2, $1::int) i`, many)
			b.exec(`INSERT INTO stephost.bookkeeping SELECT k.queue, m.msg_id, m.enqueued_at, k.record FROM stephost.bookkeeping k, pgmq.q_orders_dead m WHERE m.msg_id > 1`)
		}
		chunks := 0
		report := b.replay(DeadFilter{}, ReplayOptions{DeadSweep: DeadSweep{Progress: func(DeadReport) { chunks++ }}})
		require.Equal(t, int64(many), report.Done)
		require.Equal(t, 4, chunks)
		require.Equal(t, many, b.count("pgmq.q_orders"))
		require.Equal(t, many, b.count("(SELECT DISTINCT message FROM pgmq.q_orders) d"))
		// Bookkeeping has followed its own message.
		claimed := b.claim("orders", many)
		for _, d := range claimed {
			require.Equal(t, 1, d.Record.Replays)
		}
	})
}

func TestReplayTellsWhoListens(t *testing.T) {
	t.Parallel()
	// No trigger announces anything here.
	b := setup(t, pgmqtest.V1_5)
	b.create("orders")
	b.send("orders", `1`)
	b.bury("orders", "orders_dead")
	s := b.subscribe("orders")
	b.replay(DeadFilter{}, ReplayOptions{})
	event := receive(t, s)
	require.Equal(t, queues.EventStepReady, event.Kind)
	require.Equal(t, "orders", event.Queue)
}

func TestReplayFollowsTablesThatChange(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	b.create("orders")
	b.send("orders", `1`)
	b.bury("orders", "orders_dead")
	_, err := b.layoutsOf(t.Context(), b.work, []string{"orders", "orders_dead"})
	require.NoError(t, err)
	_, err = b.db.Exec(t.Context(), `SELECT pgmq.drop_queue('orders')`)
	require.NoError(t, err)
	report := b.replay(DeadFilter{}, ReplayOptions{})
	require.Len(t, report.Skipped, 1)
	require.Equal(t, SkipNoQueue, report.Skipped[0].Reason)
	require.ErrorIs(t, report.Skipped[0].Err, queues.ErrQueueMissing)
	b.create("orders")
	require.Equal(t, int64(1), b.replay(DeadFilter{}, ReplayOptions{}).Done)
}

func TestForeignLettersGoWhereTheyAreSent(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders", "orders_dead")
		b.send("orders_dead", `{"a": 1}`)
		report := b.replay(DeadFilter{}, ReplayOptions{})
		require.Equal(t, SkipNoOrigin, report.Skipped[0].Reason)
		report = b.replay(DeadFilter{}, ReplayOptions{To: "orders"})
		require.Equal(t, map[string]int64{"orders": 1}, report.To)
		d := b.claimOne("orders")
		require.Equal(t, "orders_dead", d.Record.Origin.Queue, "where it was first enqueued names it from now on")
		_, err := b.DeadReplay(t.Context(), "orders_dead", DeadFilter{}, ReplayOptions{To: "orders_dead"})
		require.ErrorIs(t, err, errReplayToItself)
		_, err = b.DeadReplay(t.Context(), "orders_dead", DeadFilter{}, ReplayOptions{To: "nobody"})
		require.ErrorIs(t, err, queues.ErrQueueMissing)
	})
}
