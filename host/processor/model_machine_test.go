package processor

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// machine runs one case: the world as it should be, the hosts, and what is
// under way.
type machine struct {
	t     *rapid.T
	audit *audit
	// operator is who does what no host does, from connections of its own.
	operator *site
	hosts    []*vhost
	world    *world

	incarnation atomic.Uint64
	origins     map[int]string // idempotency keys, by tag
	emitted     int
	paused      []*op
	gated       *op // the paused one that has locked rows
	sent        []sent
	loose       sync.WaitGroup // what the operator does

	// before is the state before the present action; undo are those before each
	// change that a crash of the database may still undo.
	before snapshot
	undo   []snapshot
}

// snapshot is what claims and heartbeats change.
type snapshot struct {
	raw   []raw
	model map[rowKey]row
}

func newMachine(t *rapid.T, a *audit, operator *site, sites []*site) *machine {
	m := &machine{t: t, audit: a, operator: operator, world: newWorld(), origins: make(map[int]string)}
	m.incarnation.Store(1)
	a.clean(t)
	for _, s := range sites {
		m.hosts = append(m.hosts, m.boot(s, new(atomic.Int64)))
	}
	m.check(t)
	return m
}

func (m *machine) boot(s *site, clock *atomic.Int64) *vhost {
	h := newVhost(s, clock, &m.incarnation)
	h.asserted = m.incarnation.Load()
	return h
}

// reboot replaces a host by one that knows nothing.
func (m *machine) reboot(h *vhost) *vhost {
	h.p.Stop()
	fresh := m.boot(h.site, h.clock)
	m.hosts[slices.Index(m.hosts, h)] = fresh
	return fresh
}

// close ends what a failed case has left under way.
func (m *machine) close() {
	for _, o := range m.paused {
		if o.trap != nil {
			o.trap.Cut()
		}
	}
	if m.gated != nil {
		m.audit.exec(m.t, "SELECT pg_advisory_unlock_all()")
	}
	for _, o := range m.paused {
		<-o.done
	}
	m.loose.Wait()
	for _, h := range m.hosts {
		h.p.Stop()
	}
}

// durable notes a change that was committed for good, and all before it.
func (m *machine) durable(changed bool) {
	if changed {
		m.undo = nil
	}
}

// forgettable notes a change that a crash of the database may undo.
func (m *machine) forgettable(changed bool) {
	if changed {
		m.undo = append(m.undo, m.before)
	}
}

// longestStop keeps what is stopped within the deadlines of the hosts, also where
// the machine is so slow that a case takes seconds.
const longestStop = 3 * time.Second

// check compares everything with the model.
func (m *machine) check(t *rapid.T) {
	m.t = t
	for _, o := range slices.Clone(m.paused) {
		if time.Since(o.begun) > longestStop && slices.Contains(m.paused, o) {
			m.resume(o, false)
		}
	}
	if want, got := m.world.lines(), m.audit.lines(t); !slices.Equal(want, got) {
		t.Fatalf("the database is not what it should be (-model +database):\n%s", cmp.Diff(want, got))
	}
	for _, h := range m.hosts {
		m.checkHost(h)
	}
	m.before = snapshot{raw: m.audit.raw(t), model: make(map[rowKey]row, len(m.world.rows))}
	for key, r := range m.world.rows {
		m.before.model[key] = *r
	}
}

// checkHost compares what a host has in hand.
func (m *machine) checkHost(h *vhost) {
	var want, got []string
	for _, g := range h.grips {
		state := settling
		switch {
		case g.running:
			state = running
		case g.waiting:
			state = suspected
		}
		want = append(want, fmt.Sprintf("step %d message %d epoch %d state %d", g.step, g.key.id, g.epoch, state))
	}
	h.lane.mu.Lock()
	for _, e := range h.lane.entries {
		got = append(got, fmt.Sprintf("step %d message %d epoch %d state %d", e.id, e.lease.ID, e.lease.Epoch, e.state))
	}
	h.lane.mu.Unlock()
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(m.t, want, got, "%s: what it has in hand", h.name)
}

// pass lets the time of the database and of all hosts go on.
func (m *machine) pass(d time.Duration) {
	m.audit.pass(m.t, d)
	m.world.now += d
	for _, h := range m.hosts {
		h.clock.Add(int64(d))
	}
	m.undo = nil // written to disk by now
}

// drain ends the case: what is under way goes on, and whatever is left is
// handled without any further fault. Then nothing may be left.
func (m *machine) drain() {
	for len(m.paused) > 0 {
		m.resume(m.paused[0], false)
	}
	for range 40 {
		for _, h := range m.hosts {
			if turn := h.plugin.takeTurn(); turn != nil {
				m.takeTurn(h, turn)
			}
			for _, g := range h.where(isRunning) {
				m.succeed(h, g, 0)
			}
			for len(h.where(isDecided)) > 0 {
				m.flush(h, nil, nowhere)
			}
		}
		m.check(m.t)
		idle := !slices.ContainsFunc(m.hosts, func(h *vhost) bool { return len(h.grips) > 0 })
		if len(m.world.rows) == 0 && idle {
			return
		}
		m.pass(4 * modelTick)
		m.check(m.t)
		for _, h := range m.hosts {
			m.claim(h, 50, 0, nowhere)
			m.check(m.t)
		}
	}
	m.t.Fatalf("messages are left that nobody settles: %v", m.world.lines())
}
