package processor

import (
	"context"
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// tried is one member of a settlement, as it was sent.
type tried struct {
	*grip
	epoch   int32
	verdict verdict
	fate    modelFate
}

// sent is a settlement that has been on its way at least once. It may come
// again, whenever and from wherever.
type sent struct {
	settlement queues.Settlement
	verdict    verdict
}

// flush is one turn of a settler. Stopped on its way it settles one entry, so
// that it is one statement.
func (m *machine) flush(h *vhost, one *grip, at point) {
	var entries []*entry
	if one == nil {
		entries = h.lane.takeAny()
	} else {
		entries = h.lane.takeOne(one.step)
	}
	batch := make([]*tried, len(entries))
	for i, e := range entries {
		g := h.grips[e.id]
		require.NotNil(m.t, g, "%s settles step %d, which it should not have", h.name, e.id)
		require.NotNil(m.t, g.verdict, "%s settles what has no outcome: %v", h.name, g)
		batch[i] = &tried{grip: g, epoch: g.epoch, verdict: *g.verdict}
	}
	if len(batch) == 0 {
		return
	}
	m.start(&op{
		kind: settleOp, host: h, at: at,
		run: func() { h.lane.flush(context.Background(), entries) },
		apply: func(*op) {
			changed := false
			for _, member := range batch {
				member.fate = m.world.settle(member.key, member.epoch, member.verdict)
				changed = changed || member.fate == fateSettled
			}
			m.durable(changed)
		},
		told: func(o *op) { m.acknowledged(o, batch) },
	})
}

// takeAny takes a batch whatever else is under way: the model's settlers are as
// many as it likes.
func (l *lane) takeAny() []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.takeBatch()
}

// takeOne takes one outcome out of those that wait for the settler.
func (l *lane) takeOne(step uint64) (batch []*entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.IndexFunc(l.pending, func(e *entry) bool { return e.id == step })
	if at < 0 {
		return nil // it is being settled
	}
	batch = []*entry{l.pending[at]}
	l.pending = slices.Delete(slices.Clone(l.pending), at, at+1)
	return batch
}

// acknowledged checks what a host has made of the answer to a settlement.
func (m *machine) acknowledged(o *op, batch []*tried) {
	h := o.host
	calls := taken(h.spy, &h.spy.settled)
	require.Len(m.t, calls, 1)
	var reported []string
	for i, member := range batch {
		g, lease := member.grip, calls[0].batch[i].Lease
		require.Equal(m.t, g.key, rowKey{lease.ID, lease.EnqueuedAt.UnixMicro()})
		require.EqualValues(m.t, member.epoch, lease.Epoch)
		m.sent = append(m.sent, sent{calls[0].batch[i], member.verdict})
		status := calls[0].results[i].Status
		if o.cut {
			require.Equal(m.t, queues.SettleUnknown, status, "a cut connection tells nothing")
			g.unknown = true
			continue
		}
		require.Equal(m.t, statusOf(member.fate), status, "%s settles %v: %v", h.name, g, calls[0].results[i].Err)
		outcome := member.verdict.outcome
		switch member.fate {
		case fateRefused:
			g.end(g.fails(-1, "settlement_refused"))
			continue
		case fateLost:
			if g.epoch != member.epoch {
				continue // adopted meanwhile: again, under the newer epoch
			}
			if !g.unknown {
				outcome = OutcomeLeaseLost
			}
		case fateSettled:
		}
		delete(h.grips, g.step)
		reported = append(reported, fmt.Sprintf("%d %s", g.key.id, outcome))
	}
	slices.Sort(reported)
	require.Equal(m.t, reported, h.reported(), "%s: the outcomes that are reported", h.name)
}

func statusOf(fate modelFate) queues.SettleStatus {
	return [...]queues.SettleStatus{fateSettled: queues.Settled, fateLost: queues.LeaseLost, fateRefused: queues.Refused}[fate]
}

// again sends an old settlement once more, from anywhere.
func (m *machine) again(old sent) {
	fate := m.world.settle(rowKey{old.settlement.ID, old.settlement.EnqueuedAt.UnixMicro()}, int32(old.settlement.Epoch), old.verdict)
	m.durable(fate == fateSettled)
	result := m.operator.broker.Settle(context.Background(), modelQueue, []queues.Settlement{old.settlement})[0]
	require.Equal(m.t, statusOf(fate), result.Status, "an old settlement of message %d: %v", old.settlement.ID, result.Err)
}

// extension is one lease of a round of the keeper.
type extension struct {
	*grip
	epoch         int32
	held, skipped bool
}

// beat is one round of a keeper.
func (m *machine) beat(h *vhost, at point) {
	now := h.now()
	var abandoned []uint64
	for _, g := range h.where(isRunning) {
		if g.cancelled != pluginv1.CancelReason_CANCEL_REASON_UNSPECIFIED && now.Sub(g.cancelledAt) >= 2*modelTick {
			g.end(g.released())
			abandoned = append(abandoned, g.step)
		}
	}
	assert := h.asserted != m.incarnation.Load()
	h.asserted = m.incarnation.Load()
	var due []*extension
	for _, g := range h.where(func(g *grip) bool { return !g.leaseLost && (assert || now.Sub(g.term) >= modelLease/3) }) {
		due = append(due, &extension{grip: g, epoch: g.epoch})
	}
	if at == inside && len(due) != 1 {
		at = nowhere // it locks row by row: who is faster gets the second
	}
	m.start(&op{
		kind: beatOp, host: h, at: at,
		run: func() {
			h.p.keepRound(context.Background(), &h.keeper)
			h.keeper.extensions.Wait()
		},
		apply: func(*op) {
			changed := false
			for _, x := range due {
				x.held, x.skipped = m.world.extend(x.key, x.epoch)
				changed = changed || x.held && !x.skipped
			}
			m.forgettable(changed)
		},
		told: func(o *op) {
			if o.cut && assert {
				h.asserted = 0 // as long as it has not been said, it has not been said
			}
			m.beaten(o, due, abandoned)
		},
	})
}

// beaten checks what a keeper has made of the answer.
func (m *machine) beaten(o *op, due []*extension, abandoned []uint64) {
	h := o.host
	var want, got []string
	for _, x := range due {
		status := queues.ExtendLost
		switch {
		case o.cut:
			status = -1
		case x.skipped:
			status = queues.ExtendSkipped
		case x.held:
			status = queues.Extended
		}
		want = append(want, fmt.Sprintf("%v %d %d", x.key, x.epoch, status))
	}
	for _, call := range taken(h.spy, &h.spy.extended) {
		for i, lease := range call.leases {
			status := queues.ExtendStatus(-1)
			if call.err == nil {
				status = call.statuses[i]
			}
			got = append(got, fmt.Sprintf("%v %d %d", rowKey{lease.ID, lease.EnqueuedAt.UnixMicro()}, lease.Epoch, status))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(m.t, want, got, "%s: the leases that are extended, and their fate", h.name)

	var cancelled []string
	for _, x := range due {
		g := x.grip
		if h.grips[g.step] != g || g.epoch != x.epoch {
			continue // settled or adopted meanwhile
		}
		switch {
		case !o.cut && x.held && !x.skipped:
			g.term = o.started
			continue
		case !o.cut && !x.held:
			g.leaseLost = true
		case h.now().Sub(g.term) < modelLease:
			continue
		}
		switch {
		case g.running && g.cancelled == pluginv1.CancelReason_CANCEL_REASON_UNSPECIFIED:
			g.cancelled, g.cancelledAt = pluginv1.CancelReason_CANCEL_REASON_LEASE_LOST, h.now()
			cancelled = append(cancelled, cancelLine(g.step, g.cancelled))
		case g.waiting:
			g.end(g.released())
		}
	}
	slices.Sort(cancelled)
	gotCancelled, gotAbandoned := h.plugin.heardStops()
	require.Equal(m.t, cancelled, gotCancelled, "%s: the steps that are told to stop", h.name)
	require.Equal(m.t, abandoned, gotAbandoned, "%s: the steps that are given up", h.name)
}
