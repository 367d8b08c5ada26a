package processor

import (
	"slices"

	"pgregory.net/rapid"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Stories are sequences that chance alone would seldom find.

// step is one action within a story.
func (m *machine) step(t *rapid.T, do func()) {
	do()
	m.check(t)
}

// doFreeze: a host stands still for longer than its leases. Another one has its
// messages meanwhile, and then the first gets them back.
func (m *machine) doFreeze(t *rapid.T) {
	m.ungated(t)
	h, other := m.free(t, claimOp), m.free(t, claimOp)
	if h == other || len(h.where(isRunning)) == 0 || m.busy(other, settleOp) {
		t.Skip("nobody to take over")
	}
	m.pass(4 * modelTick)
	m.check(t)
	m.claim(other, 50, 0, nowhere)
	m.check(t)
	for _, g := range other.where(isRunning) {
		m.endSomehow(t, other, g)
	}
	if len(other.where(isDecided)) > 0 {
		m.flush(other, nil, nowhere)
	}
	if !m.busy(h, beatOp) && rapid.Bool().Draw(t, "it notices") {
		m.step(t, func() { m.beat(h, nowhere) })
	}
	m.pass(4 * modelTick)
	m.check(t)
	m.step(t, func() { m.claim(h, 50, 0, nowhere) })
	for _, g := range h.where((*grip).stopped) { // what it was told to stop, and has again
		if g.running {
			m.step(t, func() { m.fail(h, g, &pluginv1.Failure{Message: "stopped"}, -1, "attempts_spent") })
		}
	}
	if !m.busy(h, settleOp) && len(h.where(isDecided)) > 0 {
		m.flush(h, nil, nowhere)
	}
}

// doLoseHosts: whoever has the messages dies, with nothing to tell.
func (m *machine) doLoseHosts(t *rapid.T) {
	m.ungated(t)
	h := m.host(t)
	if slices.ContainsFunc(m.paused, func(o *op) bool { return o.host == h }) {
		t.Skip("has something under way")
	}
	for range modelMaxDeliveries {
		m.step(t, func() { m.pass(4 * modelTick) })
		m.step(t, func() { m.claim(h, 50, 0, nowhere) })
		m.step(t, func() { h = m.reboot(h) })
	}
	m.step(t, func() { m.pass(4 * modelTick) })
	m.claim(h, 50, 0, nowhere)
}

// doSearch: the plugin dies with several steps, and its probation with the last
// of a group.
func (m *machine) doSearch(t *rapid.T) {
	m.ungated(t)
	h := m.host(t)
	if slices.ContainsFunc(m.paused, func(o *op) bool { return o.host == h }) {
		t.Skip("has something under way")
	}
	m.step(t, func() { m.claim(h, 50, 0, nowhere) })
	if with := h.where(runsAmong); len(with) > 1 {
		m.step(t, func() {
			m.lose(h, with, processCrash{len(with)}, func(g *grip) *verdict { return g.crashed(len(with)) })
		})
		m.step(t, func() { m.flush(h, nil, nowhere) })
	}
	for range 2 { // once to get the suspects, once to ask for their turn
		m.step(t, func() { m.claim(h, 50, 0, nowhere) })
	}
	turn := h.plugin.takeTurn()
	if turn == nil {
		return
	}
	m.step(t, func() { m.takeTurn(h, turn) })
	group := h.where(runsApart)
	for len(group) > 1 {
		m.step(t, func() { m.endSomehow(t, h, group[0]) })
		group = group[1:]
	}
	if len(group) == 1 {
		m.lose(h, group, processCrash{1}, func(g *grip) *verdict { return g.crashed(1) })
	}
}

// doOvertake: a settlement, or its answer, is so slow that the message comes back
// to the host before.
func (m *machine) doOvertake(t *rapid.T) {
	m.ungated(t)
	h := m.host(t)
	if slices.ContainsFunc(m.paused, func(o *op) bool { return o.host == h }) {
		t.Skip("has something under way")
	}
	g := draw(t, h, isDecided)
	if rapid.Bool().Draw(t, "it waits for the message to come back") {
		m.step(t, func() { m.pass(4 * modelTick) })
		m.step(t, func() { m.claim(h, 1, g.key.id, inside) })
		m.flush(h, g, nowhere)
		return
	}
	m.step(t, func() { m.flush(h, g, pick(t, "point", []point{atRequest, atReply})) })
	m.step(t, func() { m.pass(4 * modelTick) })
	m.step(t, func() { m.claim(h, 50, 0, nowhere) })
	for _, o := range slices.Clone(m.paused) {
		if o.host == h {
			m.resume(o, false)
		}
	}
}

// doSpend: a message fails until nobody may try it again.
func (m *machine) doSpend(t *rapid.T) {
	m.ungated(t)
	h := m.host(t)
	if slices.ContainsFunc(m.paused, func(o *op) bool { return o.host == h }) {
		t.Skip("has something under way")
	}
	key := draw(t, h, runsAmong).key
	for {
		g := h.latest(key)
		if g == nil || !runsAmong(g) || g.stopped() {
			return
		}
		m.step(t, func() { m.fail(h, g, &pluginv1.Failure{Message: "no"}, -1, "attempts_spent") })
		m.step(t, func() { m.flush(h, nil, nowhere) })
		if m.world.rows[key] == nil {
			return
		}
		m.step(t, func() { m.pass(4 * modelTick) })
		m.step(t, func() { m.claim(h, 1, key.id, nowhere) })
	}
}

// doRenew: the queue is dropped and made anew while a host has a message of it,
// and another host has a message of the same id and epoch. What the first one
// has must not be taken for that.
func (m *machine) doRenew(t *rapid.T) {
	m.ungated(t)
	h, other := m.host(t), m.host(t)
	if h == other || slices.ContainsFunc(m.paused, func(o *op) bool { return o.host == h || o.host == other }) {
		t.Skip("has something under way")
	}
	g := draw(t, h, func(g *grip) bool { return !g.leaseLost && g.key.id <= 20 })
	m.step(t, func() { m.doDrop(t) })
	m.step(t, func() { m.send(int(g.key.id), 0) })
	var twin *row
	for _, r := range m.world.rows {
		if r.id == g.key.id {
			twin = r
		}
	}
	for twin.epoch < g.epoch {
		m.step(t, func() { m.pass(4 * modelTick) })
		m.step(t, func() { m.claim(other, 1, twin.id, nowhere) })
	}
	m.step(t, func() { m.beat(h, nowhere) })
	if g.running {
		m.step(t, func() { m.endSomehow(t, h, g) })
	}
	if isDecided(g) {
		m.flush(h, g, nowhere)
	}
}
