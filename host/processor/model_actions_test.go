package processor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

// doSend: a producer puts messages into the queue.
func (m *machine) doSend(t *rapid.T) {
	n := rapid.IntRange(1, 4).Draw(t, "messages")
	m.send(n, time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "ticks of delay"))*modelTick)
}

func (m *machine) send(n int, delay time.Duration) {
	batch := make([]queues.Outgoing, n)
	for i := range batch {
		batch[i] = queues.Outgoing{Body: fmt.Appendf(nil, `{"n": %d}`, m.world.nextTag+i+1), Delay: delay}
	}
	_, err := m.operator.broker.Send(context.Background(), modelQueue, batch)
	require.NoError(m.t, err)
	for _, r := range m.unknown() {
		m.world.add(r.key(), delay)
		m.origins[m.world.nextTag] = m.world.rows[r.key()].origin
	}
	m.durable(true)
}

// unknown are the rows of the queue that the model does not have, by id.
func (m *machine) unknown() []raw {
	return slices.DeleteFunc(m.audit.raw(m.t), func(r raw) bool { return m.world.rows[r.key()] != nil })
}

// doOutcome: a handler ends.
func (m *machine) doOutcome(t *rapid.T) {
	h := m.host(t)
	m.endSomehow(t, h, draw(t, h, isRunning))
}

func (m *machine) endSomehow(t *rapid.T, h *vhost, g *grip) {
	switch pick(t, "outcome", []string{"success", "success", "failure", "failure", "permanent", "retry after", "snooze", "not accepted", "unstorable"}) {
	case "success":
		m.succeed(h, g, rapid.IntRange(0, 2).Draw(t, "emits"))
	case "failure":
		m.fail(h, g, &pluginv1.Failure{Message: "no"}, -1, "attempts_spent")
	case "permanent":
		m.fail(h, g, &pluginv1.Failure{Message: "never", Verdict: pluginv1.FailureVerdict_FAILURE_VERDICT_PERMANENT}, -1, "permanent")
	case "retry after":
		m.fail(h, g, &pluginv1.Failure{
			Message: "later", Verdict: pluginv1.FailureVerdict_FAILURE_VERDICT_RETRY_AFTER, RetryAfterMs: (3 * modelTick).Milliseconds(),
		}, 3*modelTick, "attempts_spent")
	case "snooze":
		m.outcome(h, g, &pluginv1.Result{Outcome: &pluginv1.Result_Snooze{Snooze: &pluginv1.Snooze{DelayMs: modelTick.Milliseconds()}}}, g.snoozes(modelTick))
	case "not accepted":
		m.outcome(h, g, &pluginv1.Result{Outcome: &pluginv1.Result_NotAccepted{NotAccepted: &pluginv1.NotAccepted{}}}, g.released())
	case "unstorable":
		v := g.succeeds(nil)
		v.refused = true
		m.outcome(h, g, success(`{"text": "\u0000"}`), v)
	}
}

func (m *machine) outcome(h *vhost, g *grip, res *pluginv1.Result, v *verdict) {
	res.Id = g.step
	h.lane.Results([]*pluginv1.Result{res})
	g.end(v)
}

func (m *machine) succeed(h *vhost, g *grip, emits int) {
	var sends []*pluginv1.Emit
	var lines []string
	for range emits {
		m.emitted++
		sends = append(sends, &pluginv1.Emit{
			Target: &pluginv1.Emit_Queue{Queue: modelEmits}, Body: fmt.Appendf(nil, `{"emit": %d}`, m.emitted),
		})
		lines = append(lines, fmt.Sprintf("emit %d", m.emitted))
	}
	m.outcome(h, g, success(`{"ok": true}`, sends...), g.succeeds(lines))
}

func (m *machine) fail(h *vhost, g *grip, f *pluginv1.Failure, after time.Duration, dead string) {
	v := g.fails(after, dead)
	if g.stopped() {
		v = g.released()
	}
	m.outcome(h, g, failed(f), v)
}

// lose ends steps with their process or its stream.
func (m *machine) lose(h *vhost, grips []*grip, cause error, verdict func(*grip) *verdict) {
	if len(grips) == 0 {
		m.t.Skip("nothing runs")
	}
	ids := make([]uint64, len(grips))
	for i, g := range grips {
		ids[i] = g.step
		g.end(verdict(g))
	}
	h.lane.Lost(ids, cause)
}

// doCrash: the plugin's process dies with everything that runs in it.
func (m *machine) doCrash(t *rapid.T) {
	h := m.host(t)
	with := h.where(runsAmong)
	m.lose(h, with, processCrash{len(with)}, func(g *grip) *verdict { return g.crashed(len(with)) })
}

// doCrashApart: the process of the probation dies.
func (m *machine) doCrashApart(t *rapid.T) {
	h := m.host(t)
	with := h.where(runsApart)
	m.lose(h, with, processCrash{len(with)}, func(g *grip) *verdict { return g.crashed(len(with)) })
}

// doVanish: the plugin's stream ends, and nobody knows why.
func (m *machine) doVanish(t *rapid.T) {
	h := m.host(t)
	m.lose(h, h.where(runsAmong), fmt.Errorf("the stream ended"), (*grip).vanishes)
}

// doTurn: the plugin's probation has room for suspects.
func (m *machine) doTurn(t *rapid.T) {
	h := m.host(t)
	turn := h.plugin.takeTurn()
	if turn == nil {
		t.Skip("nobody has asked for a turn")
	}
	m.takeTurn(h, turn)
}

func (m *machine) takeTurn(h *vhost, turn Suspects) {
	steps := turn.Turn(0)
	for _, s := range steps {
		g := h.grips[s.GetId()]
		m.checkStep(g, s)
		require.True(m.t, g.waiting, "%v has its turn and does not wait for it", g)
		require.True(m.t, len(steps) == 1 || g.suspicion < 3, "%v must run alone and is one of %d", g, len(steps))
		g.waiting, g.running, g.group = false, true, len(steps)
	}
}

// doDrop: an operator drops the queue, with what is in it, and makes it anew.
func (m *machine) doDrop(t *rapid.T) {
	m.ungated(t)
	if rapid.Bool().Draw(t, "by hand") {
		m.audit.exec(t, `SELECT pgmq.drop_queue('ns_queue')`)
	} else {
		_, err := m.operator.broker.DropQueue(context.Background(), modelQueue)
		require.NoError(t, err)
	}
	_, err := m.operator.broker.CreateQueue(context.Background(), modelQueue)
	require.NoError(t, err)
	m.audit.exec(t, gateSQL)
	clear(m.world.rows)
	m.world.archive = nil
	m.durable(true)
}

// doPurge: an operator empties the queue.
func (m *machine) doPurge(t *rapid.T) {
	m.ungated(t)
	purged, err := m.operator.broker.Purge(context.Background(), modelQueue)
	require.NoError(t, err)
	require.EqualValues(t, len(m.world.rows), purged)
	clear(m.world.rows)
	m.durable(true)
}

// doReplay: an operator sends a dead letter back, and another one the same one.
func (m *machine) doReplay(t *rapid.T) {
	if len(m.world.dead) == 0 {
		t.Skip("nothing is dead")
	}
	d := pick(t, "letter", m.world.dead)
	rows, err := m.audit.db.Query(context.Background(), `SELECT msg_id FROM pgmq.q_ns_dead WHERE (message->>'n')::int = $1`, d.tag)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(t, err)
	require.Len(t, ids, 1)
	for i := range int64(2) {
		report, err := m.operator.broker.DeadReplay(context.Background(), modelDead, pgmq.DeadIDs(ids...), pgmq.ReplayOptions{})
		require.NoError(t, err)
		require.Equal(t, 1-i, report.Done, "a letter is replayed once")
	}
	fresh := m.unknown()
	require.Len(t, fresh, 1)
	m.world.replay(d, fresh[0].key())
	m.durable(true)
}
