package processor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/pgseam"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// patienceOfModel bounds each wait; nothing depends on its length.
const patienceOfModel = 60 * time.Second

// kindOfOp is which of a host's three loops does it.
type kindOfOp int

const (
	claimOp kindOfOp = iota
	settleOp
	beatOp
)

// The pool that each kind uses, and what its statement can be told by.
func (k kindOfOp) application(s *site) string {
	return "stephost " + [...]string{"claim", "settle", "heartbeat"}[k] + " " + s.name
}

func (k kindOfOp) statement() string {
	return [...]string{"picked AS MATERIALIZED", "SELECT ord FROM done", "held AS MATERIALIZED"}[k]
}

// point is where an op is stopped.
type point int

const (
	nowhere   point = iota
	atRequest       // sent, and the server has not seen it
	inside          // the server has locked rows, a claim its first, and changed nothing yet
	atReply         // committed, and the host does not know
)

func (p point) String() string { return [...]string{"", "request", "inside", "reply"}[p] }

// op is one turn of a host's loop, which may be stopped around its statement.
type op struct {
	kind    kindOfOp
	host    *vhost
	at      point
	run     func()              // the turn, in a goroutine of its own
	apply   func(op *op)        // the model's side of the statement
	told    func(op *op)        // what the host must make of the answer
	done    chan struct{}       // closed when run has returned
	started time.Time           // on the host's clock
	begun   time.Time           // on the test's clock
	trap    *pgseam.Trap        // until it goes on
	rows    map[rowKey]bool     // inside: what it has locked
	visible int                 // inside: how many messages could be claimed then
	cut     bool                // the connection was cut: the host was told nothing
	lost    bool                // and the statement was never executed
	given   map[rowKey]delivery // a claim: what was leased
}

// delivery is a message as it was when it was leased.
type delivery struct {
	row   *row
	epoch int32
	counts
}

func (o *op) String() string {
	return fmt.Sprintf("%s of %s %v", [...]string{"claim", "settlement", "heartbeat"}[o.kind], o.host, o.at)
}

// start runs an op up to its point, or to its end.
func (m *machine) start(o *op) {
	o.done, o.started, o.begun = make(chan struct{}), o.host.now(), time.Now()
	application := o.kind.application(o.host.site)
	switch o.at {
	case atRequest:
		o.trap = o.host.proxy.Arm(o.kind.statement(), pgseam.Request)
	case atReply:
		o.trap = o.host.proxy.Arm(o.kind.statement(), pgseam.Reply)
	case inside:
		m.audit.close(m.t, application)
	}
	go func() {
		defer close(o.done)
		o.run()
	}()
	switch o.at {
	case atRequest, atReply:
		if m.waitFor(o, false) {
			if o.at == atReply {
				o.apply(o)
			}
			m.paused = append(m.paused, o)
			return
		}
		o.host.proxy.Disarm(o.trap) // it had no statement to run
	case inside:
		if m.waitFor(o, true) {
			o.rows, o.visible = m.audit.locked(m.t), m.world.visible()
			for key := range o.rows {
				if r := m.world.rows[key]; r != nil {
					r.locked = true
				}
			}
			m.paused, m.gated = append(m.paused, o), o
			return
		}
		m.audit.open(m.t, application)
	}
	m.finish(o)
}

// waitFor waits until an op is stopped, which it reports, or has ended. While
// another one is inside, it may have to wait for that: which is then let go on,
// and comes first.
func (m *machine) waitFor(o *op, gated bool) (stopped bool) {
	var caught <-chan struct{}
	if o.trap != nil {
		caught = o.trap.Caught()
	}
	deadline := time.Now().Add(patienceOfModel)
	for pause := time.Duration(0); ; pause = 500 * time.Microsecond {
		select {
		case <-o.done:
			return false
		case <-caught:
			return true
		case <-time.After(pause):
		}
		if (m.gated != nil || gated) && m.audit.blocked(m.t, o.kind.application(o.host.site)) {
			if gated {
				return true
			}
			require.Equal(m.t, settleOp, o.kind, "claims and heartbeats do not wait for locks")
			m.letFirst(m.gated, o)
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%v never ended", o)
		}
	}
}

// unhindered does what must not wait for the rows that are locked.
func (m *machine) unhindered(application string, do func()) {
	done := make(chan struct{})
	m.loose.Go(func() {
		defer close(done)
		do()
	})
	for pause := time.Duration(0); ; pause = 500 * time.Microsecond {
		select {
		case <-done:
			return
		case <-time.After(pause):
			require.False(m.t, m.audit.blocked(m.t, application), "%s waits for locks", application)
		}
	}
}

// letFirst lets go on what a settlement waits for. The host hears of it first, too,
// even if it is the host that settles.
func (m *machine) letFirst(gated, settlement *op) {
	answer := &settlement.host.spy.answer
	answer.Lock()
	defer answer.Unlock()
	m.resume(gated, false)
}

// finish waits for an op's end and checks what has come of it.
func (m *machine) finish(o *op) {
	o.trap = nil // it has been caught, or never will be
	m.waitFor(o, false)
	if o.at != atReply && !o.lost {
		o.apply(o)
	}
	o.told(o)
}

// resume lets a stopped op go on, or cuts its connection.
func (m *machine) resume(o *op, cut bool) {
	m.paused = slices.DeleteFunc(m.paused, func(other *op) bool { return other == o })
	switch o.at {
	case inside:
		for key := range o.rows {
			if r := m.world.rows[key]; r != nil {
				r.locked = false
			}
		}
		m.gated = nil
		m.audit.open(m.t, o.kind.application(o.host.site))
	default:
		if cut {
			o.cut, o.lost = true, o.at == atRequest
			o.trap.Cut()
		} else {
			o.trap.Release()
		}
	}
	m.finish(o)
}

// busy tells whether a host's loop is stopped already.
func (m *machine) busy(h *vhost, kind kindOfOp) bool {
	return slices.ContainsFunc(m.paused, func(o *op) bool { return o.host == h && o.kind == kind })
}

// claim is one look of a lane into its queue.
func (m *machine) claim(h *vhost, limit int, id int64, at point) {
	limits := *h.p.limits.Load()
	limits.BatchSize, limits.BatchProcessing = limit, id == 0
	h.p.limits.Store(&limits)
	h.clock.Add(int64(2 * time.Second)) // past the pause after a failed claim
	o := &op{kind: claimOp, host: h, at: at}
	// A sweep is one statement, whatever was claimed before.
	h.lane.hint(queues.Event{Source: queues.SourcePoll, Queue: modelQueue, MessageID: id})
	o.run = func() { h.lane.fillOnce(context.Background()) }
	suspects := len(h.where(isWaiting))
	o.apply = func(o *op) { m.leased(o, limit, id, suspects) }
	o.told = m.delivered
	m.start(o)
}

// leased finds what a claim has taken and whether that was right.
func (m *machine) leased(o *op, limit int, id int64, suspects int) {
	w := m.world
	o.given = make(map[rowKey]delivery)
	visible := w.visible()
	if o.at == inside && o.rows != nil {
		visible = o.visible
	}
	for _, found := range m.audit.raw(m.t) {
		r := w.rows[found.key()]
		if r == nil || found.epoch == r.epoch {
			continue
		}
		require.Equal(m.t, r.epoch+1, found.epoch, "message %d: a claim adds one to the epoch", r.id)
		require.True(m.t, r.visible(w.now), "message %d was handed out while its lease or its delay runs: %+v", r.id, r)
		w.lease(r)
		o.given[r.rowKey] = delivery{row: r, epoch: r.epoch, counts: r.counts}
	}
	for key := range o.rows {
		require.Contains(m.t, o.given, key, "what the claim had locked")
	}
	switch least := min(limit, visible); {
	case suspects > 0: // they have the first slots
	case o.rows != nil:
		// It locks a row and changes it before the next one, which somebody else may have taken.
		require.LessOrEqual(m.t, len(o.given), least, "a claim of %d with %d visible messages", limit, visible)
	default:
		require.Len(m.t, o.given, least, "a claim of %d with %d visible messages", limit, visible)
	}
	m.forgettable(len(o.given) > 0)
}

// delivered checks what the host has made of a claim.
func (m *machine) delivered(o *op) {
	h := o.host
	var deliveries []queues.Delivery
	for _, c := range taken(h.spy, &h.spy.claims) {
		if !o.cut {
			require.NoError(m.t, c.err)
		}
		deliveries = append(deliveries, c.deliveries...)
	}
	if !o.cut {
		require.Len(m.t, deliveries, len(o.given))
	}
	var dispatched []uint64
	for _, d := range deliveries {
		given, ok := o.given[rowKey{d.ID, d.EnqueuedAt.UnixMicro()}]
		require.True(m.t, ok, "message %d was delivered and not leased", d.ID)
		require.EqualValues(m.t, given.epoch, d.Epoch)
		if g := m.receive(h, given, o.started); g != nil && g.running {
			dispatched = append(dispatched, g.step)
		}
	}
	steps := h.plugin.heardSteps()
	var got []uint64
	for _, s := range steps {
		got = append(got, s.GetId())
		m.checkStep(h.grips[s.GetId()], s)
	}
	slices.Sort(got)
	slices.Sort(dispatched)
	require.Equal(m.t, dispatched, got, "%s: the steps that run", h.name)
}

func (m *machine) checkStep(g *grip, s *pluginv1.Step) {
	require.NotNil(m.t, g, "step %d runs, and its message is with nobody", s.GetId())
	require.EqualValues(m.t, g.attempt(), s.GetAttempt(), "the attempt of message %d", s.GetMessageId())
	require.Equal(m.t, m.origins[g.tag], s.GetIdempotencyKey())
	require.JSONEq(m.t, fmt.Sprintf(`{"n": %d}`, g.tag), string(s.GetInput()))
}

// receive is what a delivery means to a host: nil when it is adopted.
func (m *machine) receive(h *vhost, d delivery, at time.Time) *grip {
	prior := h.latest(d.row.rowKey)
	if prior != nil {
		gaveBack := prior.verdict != nil && prior.verdict.ending == givesBack
		if !gaveBack || d.epoch < prior.epoch+2 {
			prior.epoch, prior.counts, prior.term = d.epoch, d.counts, at
			prior.leaseLost, prior.unknown = false, false
			return nil
		}
	}
	h.lane.mu.Lock()
	e := h.lane.byMessage[d.row.id]
	h.lane.mu.Unlock()
	require.NotNil(m.t, e, "message %d was delivered and is in nobody's hands", d.row.id)
	require.Nil(m.t, h.grips[e.id], "message %d was delivered anew and the host took it for the old one", d.row.id)
	g := &grip{step: e.id, key: d.row.rowKey, tag: d.row.tag, epoch: d.epoch, counts: d.counts, term: at}
	h.grips[e.id] = g
	switch {
	case g.lost-1 >= modelMaxDeliveries:
		g.end(g.disappears())
	case g.suspicion > 0:
		g.waiting = true
	default:
		g.running = true
	}
	return g
}
