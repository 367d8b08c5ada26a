package pgmq

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

func TestRefusedMembersFailAlone(t *testing.T) {
	t.Parallel()
	refusals := map[string]struct {
		send    []queues.Outgoing
		prepare func(b *bundle, id int64)
		says    string
	}{
		"NUL":             {send: sends("results", `{"x": "\u0000"}`), says: "22P05"},
		"lone surrogate":  {send: sends("results", `{"x": "\ud800"}`), says: "22P02"},
		"huge number":     {send: sends("results", `{"x": 1e400000}`), says: "22003"},
		"nested":          {send: sends("results", strings.Repeat("[", 20000)+strings.Repeat("]", 20000)), says: "54001"},
		"not JSON":        {send: sends("results", `{`), says: "22P02"},
		"not UTF-8":       {send: sends("results", "\"\xff\""), says: "22021"},
		"missing target":  {send: sends("nobody", `{}`), says: `queue "nobody" does not exist`},
		"dropped target":  {send: sends("dropped", `{}`), says: `queue "dropped" does not exist`, prepare: dropTarget},
		"archived before": {says: "a_orders_pkey", prepare: func(b *bundle, id int64) { b.exec(`INSERT INTO pgmq.a_orders (msg_id, vt) VALUES ($1, now())`, id) }},
	}
	overLayouts(t, func(t *testing.T, b *bundle) {
		b.create("orders", "results", "dropped")
		var batch []queues.Settlement
		expected := map[int]string{}
		for range len(refusals) * 3 {
			b.send("orders", `{}`)
		}
		claimed := b.claim("orders", 100)
		for _, refusal := range refusals {
			at := len(batch)
			for i := range 3 {
				send := sends("results", `{"good": true}`)
				if i == 1 {
					send = refusal.send
				}
				batch = append(batch, queues.Settlement{Lease: claimed[at+i].Lease, Action: queues.Complete{Send: send}})
			}
			expected[at+1] = refusal.says
			if refusal.prepare != nil {
				refusal.prepare(b, claimed[at+1].ID)
			}
		}
		for i, result := range b.Settle(t.Context(), "orders", batch) {
			if says, bad := expected[i]; bad {
				require.Equal(t, queues.Refused, result.Status, says)
				require.ErrorContains(t, result.Err, says)
				require.ErrorContains(t, result.Err, fmt.Sprintf("message %d of queue", claimed[i].ID))
				continue
			}
			require.NoError(t, result.Err)
			require.Equal(t, queues.Settled, result.Status)
		}
		require.Equal(t, 2*len(refusals), b.count("pgmq.q_results"))
		require.Equal(t, len(refusals), b.count("pgmq.q_orders"), "nothing is written for a refused member")
	})
}

func dropTarget(b *bundle, _ int64) {
	b.send("dropped", `{}`)
	b.exec(`SELECT pgmq.drop_queue('dropped')`)
}

func TestLostConnectionLeavesTheOutcomeUnknown(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	b.send("orders", `{}`)
	d := b.claimOne("orders")
	b.mustEnd(d.Lease, queues.Retry{})
	d = b.claimOne("orders")

	b.exec("BEGIN")
	b.exec("SELECT 1 FROM pgmq.q_orders FOR UPDATE")
	settled := make(chan queues.SettleResult, 1)
	go func() { settled <- b.end(d.Lease, queues.Complete{}) }()
	require.Eventually(t, func() bool {
		var ended bool
		err := b.db.QueryRow(t.Context(), `SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'stephost settle' AND wait_event_type = 'Lock'`).Scan(&ended)
		return err == nil && ended
	}, 10*time.Second, 10*time.Millisecond)
	result := <-settled
	require.Equal(t, queues.SettleUnknown, result.Status)
	require.Error(t, result.Err)
	b.exec("ROLLBACK")
	b.mustEnd(d.Lease, queues.Complete{})
}

func TestDroppedSourceIsALostLease(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	b.send("orders", `{}`)
	d := b.claimOne("orders")
	b.exec(`SELECT pgmq.drop_queue('orders')`)
	result := b.end(d.Lease, queues.Complete{})
	require.Equal(t, queues.LeaseLost, result.Status)
	require.ErrorIs(t, result.Err, queues.ErrQueueMissing)
}

func TestLargeSettlementsAreCutUp(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	const targets = maxTargets + 8
	b.create("orders")
	var batch []queues.Settlement
	for i := range targets {
		target := fmt.Sprintf("target_%d", i)
		b.create(target)
		b.send("orders", `{}`)
	}
	for i, d := range b.claim("orders", targets) {
		send := sends(fmt.Sprintf("target_%d", i), `{}`)
		if i < 3 {
			send[0].Body = []byte(`"` + strings.Repeat("x", maxBytes/2) + `"`)
		}
		batch = append(batch, queues.Settlement{Lease: d.Lease, Action: queues.Complete{Send: send}})
	}
	for _, result := range b.Settle(t.Context(), "orders", batch) {
		require.NoError(t, result.Err)
		require.Equal(t, queues.Settled, result.Status)
	}
	for i := range targets {
		require.Equal(t, 1, b.count(fmt.Sprintf("pgmq.q_target_%d", i)))
	}
}

func TestOddSettlementsAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	b.send("orders", `{}`)
	d := b.claimOne("orders")
	foreign := d.Lease
	foreign.Queue = "others"
	got := b.Settle(t.Context(), "orders", []queues.Settlement{
		{Lease: foreign, Action: queues.Complete{}},
		{Lease: d.Lease},
		{Lease: d.Lease, Action: queues.DeadLetter{Queue: "No Such Name"}},
		{Lease: d.Lease, Action: queues.Complete{}},
	})
	require.Equal(t, queues.Refused, got[0].Status)
	require.ErrorContains(t, got[0].Err, `belongs to queue "others"`)
	require.Equal(t, queues.Refused, got[1].Status)
	require.ErrorContains(t, got[1].Err, "no action")
	require.Equal(t, queues.Refused, got[2].Status)
	require.ErrorIs(t, got[2].Err, queues.ErrName)
	require.Equal(t, queues.Settled, got[3].Status)
}

// Old queues may have any name that their creator chose.
func TestForeignNamesAreAdopted(t *testing.T) {
	t.Parallel()
	for _, l := range pgmqtest.Layouts() {
		t.Run(string(l), func(t *testing.T) {
			t.Parallel()
			adopt(setup(t, l))
		})
	}
}

func adopt(b *bundle) {
	t := b.t
	for _, name := range []string{"Mixed", "odd-name", `it's "quoted"`} {
		b.exec("SELECT pgmq.create($1)", name)
		s := b.subscribe(name)
		b.send(name, `1`)
		d := b.claimOne(name)
		require.Equal(t, name, d.Queue)
		b.mustEnd(d.Lease, queues.Release{Record: queues.Record{Failures: 1}})
		require.Equal(t, name, receive(t, s).Queue)
		d = b.claimOne(name)
		require.Equal(t, 1, d.Record.Failures)
		b.mustEnd(d.Lease, queues.DeadLetter{Queue: "dead", Send: sends(name, `2`), Record: d.Record})
		b.mustEnd(b.claimOne(name).Lease, queues.Complete{})
		states, err := b.Probe(t.Context(), []string{name})
		require.NoError(t, err)
		require.NoError(t, states[0].Err)
		require.False(t, states[0].Missing)
	}
	dead, err := b.DeadList(t.Context(), "dead", DeadFilter{}, 0, 10)
	require.NoError(t, err)
	require.Len(t, dead, 3)
	require.Equal(t, `it's "quoted"`, dead[2].Record.Origin.Queue)
}

func TestMissingArchiveSaysWhatToDo(t *testing.T) {
	t.Parallel()
	b := setup(t, pgmqtest.V1_10)
	b.create("orders")
	b.send("orders", `{}`)
	d := b.claimOne("orders")
	b.exec("ALTER TABLE pgmq.a_orders RENAME TO hidden")
	result := b.end(d.Lease, queues.Complete{})
	require.Equal(t, queues.SettleUnknown, result.Status)
	require.ErrorContains(t, result.Err, `set on_complete = "delete"`)
	b.exec("ALTER TABLE pgmq.hidden RENAME TO a_orders")
	b.mustEnd(d.Lease, queues.Complete{})
}
