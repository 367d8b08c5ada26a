package pgmq

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

func sends(queue string, bodies ...string) []queues.Outgoing {
	out := make([]queues.Outgoing, len(bodies))
	for i, body := range bodies {
		out[i] = queues.Outgoing{Queue: queue, Body: []byte(body)}
	}
	return out
}

func TestCompleteArchivesAndSends(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders", "results", "next", "audit")
		b.send("orders", `{"n": 1}`, `{"n": 2}`)
		batch := []queues.Settlement{}
		for i, d := range b.claim("orders", 2) {
			out := append(sends("results", fmt.Sprintf(`{"r": %d}`, i)), sends("next", `{"a": 1}`, `{"a": 2}`)...)
			out = append(out, sends("audit", `{"last": true}`, `{"last": false}`)...)
			out[1].Delay = time.Hour
			out[2].Headers = []byte(`{"h": 1}`)
			batch = append(batch, queues.Settlement{Lease: d.Lease, Action: queues.Complete{Send: out}})
		}
		for _, result := range b.Settle(t.Context(), "orders", batch) {
			require.NoError(t, result.Err)
			require.Equal(t, queues.Settled, result.Status)
		}
		require.Zero(t, b.count("pgmq.q_orders"))
		require.Equal(t, 2, b.count("pgmq.a_orders"))
		require.Equal(t, 1, b.count(`pgmq.a_orders WHERE message = '{"n": 2}' AND read_ct = 1`))
		require.Equal(t, 2, b.count("pgmq.q_results"))
		require.Equal(t, 2, b.count(`pgmq.q_audit WHERE message = '{"last": false}' AND vt <= clock_timestamp()`))
		require.Equal(t, 4, b.count("pgmq.q_audit"))
		require.Equal(t, 2, b.count("pgmq.q_next WHERE vt > clock_timestamp()"))
		if b.layouts.get("next").headers {
			require.Equal(t, 2, b.count(`pgmq.q_next WHERE headers = '{"h": 1}'`))
		}

		for _, result := range b.Settle(t.Context(), "orders", batch) {
			require.Equal(t, queues.LeaseLost, result.Status, "settled twice")
		}
		require.Equal(t, 2, b.count("pgmq.q_results"))
	})
}

func TestCompleteDeletes(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10, func(o *Options) { o.OnComplete = Delete })
	b.create("orders")
	b.send("orders", `{}`)
	b.mustEnd(b.claimOne("orders").Lease, queues.Complete{})
	require.Zero(t, b.count("pgmq.q_orders"))
	require.Zero(t, b.count("pgmq.a_orders"))
}

// A host that came back from the dead has no say about a message that someone
// else has claimed since.
func TestZombieWritesNothing(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders", "results")
		b.send("orders", `{}`)
		old := b.claimOne("orders")
		b.expire("orders")
		held := b.claimOne("orders")

		for _, action := range []queues.Action{
			queues.Complete{Send: sends("results", `{}`)},
			queues.Retry{Record: queues.Record{Failures: 9}},
			queues.Release{},
			queues.DeadLetter{Queue: "orders_dead", Send: sends("results", `{}`)},
		} {
			require.Equal(t, queues.SettleResult{Status: queues.LeaseLost}, b.end(old.Lease, action), "%T", action)
		}
		statuses, err := b.Extend(t.Context(), "orders", []queues.Lease{old.Lease, held.Lease}, time.Minute)
		require.NoError(t, err)
		require.Equal(t, []queues.ExtendStatus{queues.ExtendLost, queues.Extended}, statuses)
		require.Zero(t, b.count("pgmq.q_results"))
		require.Zero(t, b.count("pgmq.q_orders_dead"))
		b.mustEnd(held.Lease, queues.Complete{Send: sends("results", `{}`)})
		require.Equal(t, 1, b.count("pgmq.q_results"))
	})
}

func TestOneLeaseTwiceInABatchSettlesOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders", "results")
	b.send("orders", `{}`)
	d := b.claimOne("orders")
	one := queues.Settlement{Lease: d.Lease, Action: queues.Complete{Send: sends("results", `{}`)}}
	got := b.Settle(t.Context(), "orders", []queues.Settlement{one, one})
	require.ElementsMatch(t, []queues.SettleResult{{Status: queues.Settled}, {Status: queues.LeaseLost}}, got)
	require.Equal(t, 1, b.count("pgmq.q_results"))
}

// A host may hold an old lease and the newest one of the same message.
func TestOfTwoLeasesOfAMessageTheNewestCounts(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders", "results")
		b.send("orders", `1`, `2`, `3`)
		old := b.claim("orders", 3)
		b.expire("orders")
		leases := []queues.Lease{old[0].Lease, old[1].Lease, old[2].Lease}
		for _, d := range b.claim("orders", 3) {
			leases = append(leases, d.Lease)
		}
		for _, order := range [][]int{{0, 1, 2, 3, 4, 5}, {3, 4, 5, 0, 1, 2}, {0, 3, 4, 1, 2, 5}} {
			var mixed []queues.Lease
			for _, at := range order {
				mixed = append(mixed, leases[at])
			}
			statuses, err := b.Extend(t.Context(), "orders", mixed, time.Minute)
			require.NoError(t, err)
			for i, at := range order {
				require.Equal(t, at >= 3, statuses[i] == queues.Extended, "%v: %v", order, statuses)
			}
			var batch []queues.Settlement
			for _, lease := range mixed {
				batch = append(batch, queues.Settlement{Lease: lease, Action: queues.Retry{}})
			}
			for i, result := range b.Settle(t.Context(), "orders", batch) {
				require.Equal(t, order[i] >= 3, result.Status == queues.Settled, "%v: %v", order, result)
			}
			for _, d := range b.claim("orders", 3) {
				at := slices.IndexFunc(leases[3:], func(lease queues.Lease) bool { return lease.ID == d.ID })
				leases[3+at] = d.Lease
			}
		}
		batch := []queues.Settlement{}
		for _, lease := range leases {
			batch = append(batch, queues.Settlement{Lease: lease, Action: queues.Complete{Send: sends("results", `{}`)}})
		}
		for i, result := range b.Settle(t.Context(), "orders", batch) {
			require.Equal(t, i >= 3, result.Status == queues.Settled, "%d: %v", i, result)
		}
		require.Equal(t, 3, b.count("pgmq.q_results"))
	})
}

func TestRetryKeepsTheBookkeeping(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders")
		b.send("orders", `{"n": 1}`)
		record := queues.Record{Version: 1}
		for round := 1; round <= 3; round++ {
			d := b.claimOne("orders")
			require.Equal(t, queues.Epoch(2*round-1), d.Epoch, "claim and give-back each add one")
			require.Equal(t, round-1, d.Record.Failures)
			require.Len(t, d.Record.Errors, round-1)
			record = d.Record.AddError(queues.ErrorEntry{At: d.ClaimedAt, Attempt: round, Message: "no \x00 luck"})
			record.Failures++
			b.mustEnd(d.Lease, queues.Retry{Record: record})
			require.Equal(t, queues.LeaseLost, b.end(d.Lease, queues.Retry{Record: record}).Status, "a retry settled twice")
		}
		d := b.claimOne("orders")
		b.mustEnd(d.Lease, queues.Retry{Delay: time.Hour, Record: d.Record})
		require.Empty(t, b.claim("orders", 1))
		states, err := b.Probe(t.Context(), []string{"orders"})
		require.NoError(t, err)
		require.Greater(t, states[0].NextDue, 59*time.Minute)

		b.expire("orders")
		b.mustEnd(b.claimOne("orders").Lease, queues.Complete{})
		if !b.layouts.get("orders").headers {
			require.Zero(t, b.count("stephost.bookkeeping"), "bookkeeping outlived its message")
		}
	})
}

func TestRetryKeepsForeignHeaders(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.Upgraded)
	b.create("orders")
	b.exec(`INSERT INTO pgmq.q_orders (vt, message, headers) VALUES
		(clock_timestamp(), '1', '{"x": 1}'), (clock_timestamp(), '2', '[1]'), (clock_timestamp(), '3', NULL)`)
	for range 2 {
		for _, d := range b.claim("orders", 3) {
			d.Record.Failures++
			b.mustEnd(d.Lease, queues.Retry{Record: d.Record})
		}
	}
	require.Equal(t, 1, b.count(`pgmq.q_orders WHERE headers = '{"x": 1, "stephost": {"v": 1, "failures": 2}}'`))
	require.Equal(t, 1, b.count(`pgmq.q_orders WHERE headers = '{"stephost": {"v": 1, "failures": 2, "headers": [1]}}'`))
	require.Equal(t, 1, b.count(`pgmq.q_orders WHERE headers = '{"stephost": {"v": 1, "failures": 2}}'`))
}

func TestDeadLetter(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders", "results")
		b.send("orders", `{"n": 1}`, `{"n": 2}`)
		for _, d := range b.claim("orders", 2) {
			b.mustEnd(d.Lease, queues.Retry{})
		}
		var batch []queues.Settlement
		claimed := b.claim("orders", 2)
		for i, d := range claimed {
			record := queues.Record{Failures: i + 1, Dead: &queues.Dead{Reason: queues.DeadPermanent, Error: "bad \x00 card", Deliveries: d.Epoch}}
			batch = append(batch, queues.Settlement{Lease: d.Lease, Action: queues.DeadLetter{
				Queue: "orders_dead", Record: record, Send: sends("results", `{"ok": false}`)}})
		}
		for _, result := range b.Settle(t.Context(), "orders", batch) {
			require.NoError(t, result.Err)
			require.Equal(t, queues.Settled, result.Status)
		}
		require.Zero(t, b.count("pgmq.q_orders"))
		require.Equal(t, 2, b.count("pgmq.q_results"))
		if !b.layouts.get("orders").headers {
			require.Equal(t, 2, b.count("stephost.bookkeeping WHERE queue = 'orders_dead'"))
			require.Equal(t, 2, b.count("stephost.bookkeeping"), "bookkeeping stayed behind")
		}
		dead, err := b.DeadList(t.Context(), "orders_dead", DeadFilter{}, 0, 10)
		require.NoError(t, err)
		require.Len(t, dead, 2)
		for i, d := range dead {
			require.JSONEq(t, fmt.Sprintf(`{"n": %d}`, i+1), string(d.Body))
			require.Equal(t, i+1, d.Record.Failures)
			require.Equal(t, queues.DeadPermanent, d.Record.Dead.Reason)
			require.False(t, d.Record.Dead.At.IsZero())
			require.Equal(t, "orders", d.Record.Origin.Queue)
			require.Equal(t, claimed[i].ID, d.Record.Origin.ID)
			require.True(t, claimed[i].EnqueuedAt.Equal(d.Record.Origin.EnqueuedAt))
		}

		replayed, err := b.DeadReplay(t.Context(), "orders_dead", DeadIDs(dead[1].ID, 999), ReplayOptions{})
		require.NoError(t, err)
		require.Equal(t, DeadReport{Queue: "orders_dead", Total: 1, Seen: 1, Done: 1, To: map[string]int64{"orders": 1}, Absent: []int64{999}}, replayed)
		again := b.claimOne("orders")
		require.JSONEq(t, `{"n": 2}`, string(again.Body))
		require.Equal(t, 1, again.Record.Replays)
		require.Zero(t, again.Record.Failures)
		require.Nil(t, again.Record.Dead)
		require.Equal(t, claimed[1].ID, again.Record.Origin.ID)
		b.mustEnd(again.Lease, queues.DeadLetter{Queue: "orders_dead", Record: again.Record})
		dead, err = b.DeadList(t.Context(), "orders_dead", DeadFilter{}, 0, 10)
		require.NoError(t, err)
		require.Equal(t, claimed[1].ID, dead[1].Record.Origin.ID, "the first origin stays")
		require.Equal(t, 1, dead[1].Record.Replays)
		_, err = b.DeadShow(t.Context(), "orders_dead", 12345)
		require.ErrorIs(t, err, ErrNoMessage)
	})
}

// dropTarget drops a queue whose layout the broker knows already.
func TestHeartbeatsAndSettlementsDoNotDeadlock(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	const total = 600
	b.exec(`INSERT INTO pgmq.q_orders (vt, message) SELECT clock_timestamp(), '{}' FROM generate_series(1, $1::int)`, total)
	claimed := b.claim("orders", total)
	require.Len(t, claimed, total)
	leases := make([]queues.Lease, total)
	for i, d := range claimed {
		leases[total-1-i] = d.Lease
	}
	var settling, beating errgroup.Group
	stop := make(chan struct{})
	beating.Go(func() error {
		for {
			select {
			case <-stop:
				return nil
			default:
			}
			if _, err := b.Extend(t.Context(), "orders", leases, time.Minute); err != nil {
				return err
			}
		}
	})
	for part := range 4 {
		settling.Go(func() error {
			for at := part * total / 4; at < (part+1)*total/4; at += 10 {
				var batch []queues.Settlement
				for i := range 10 {
					batch = append(batch, queues.Settlement{Lease: leases[at+i], Action: queues.Complete{}})
				}
				for _, result := range b.Settle(t.Context(), "orders", batch) {
					if result.Status != queues.Settled {
						return fmt.Errorf("status %d: %w", result.Status, result.Err)
					}
				}
			}
			return nil
		})
	}
	require.NoError(t, settling.Wait())
	close(stop)
	require.NoError(t, beating.Wait())
	require.Equal(t, total, b.count("pgmq.a_orders"))
}

func TestExtendSkipsLockedRows(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders")
		b.send("orders", `1`, `2`, `3`)
		claimed := b.claim("orders", 3)
		b.mustEnd(claimed[0].Lease, queues.Complete{})
		b.exec("BEGIN")
		b.exec("SELECT 1 FROM pgmq.q_orders WHERE msg_id = $1 FOR UPDATE", claimed[1].ID)
		statuses, err := b.Extend(t.Context(), "orders", []queues.Lease{claimed[2].Lease, claimed[1].Lease, claimed[0].Lease}, time.Hour)
		require.NoError(t, err)
		require.Equal(t, []queues.ExtendStatus{queues.Extended, queues.ExtendSkipped, queues.ExtendLost}, statuses)
		b.exec("ROLLBACK")
		require.Equal(t, 1, b.count("pgmq.q_orders WHERE vt > clock_timestamp() + interval '59 minutes'"))
	})
}

func TestRecordsAreAlwaysStorable(t *testing.T) {
	t.Parallel()
	text, err := encodeRecord(queues.Record{
		Errors:          []queues.ErrorEntry{{Message: "\x00\xff", Stack: "\x00"}},
		Dead:            &queues.Dead{Reason: "\x00", Error: "\x00\xff", Namespace: "\x00", Plugin: "\x00"},
		Origin:          &queues.Origin{Queue: "\x00"},
		OriginalHeaders: json.RawMessage(`[1]`),
	})
	require.NoError(t, err)
	require.NotContains(t, text, `\u0000`)
	require.Equal(t, json.RawMessage(`[1]`), decodeRecord([]byte(text)).OriginalHeaders)
}
