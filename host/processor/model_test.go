package processor

// # The model
//
// TestModel is the proof of the delivery contract: hosts, producers, operators
// and faults do anything in any order against a real PostgreSQL, and a model in
// memory (world, grip, verdict) says what must come of it. It stands in this
// package because most of the contract is kept here, by the lane, the decider,
// the settler and the keeper; the rest is the broker's. All of these are real.
//
// A virtual host (vhost) is a Processor whose loops are turned by the test, one
// claim, one settlement, one round of the keeper at a time, with a plugin that
// does what the test says (puppet). So a case is a sequence of decisions, which
// rapid draws, repeats from a seed and shrinks. Nothing sleeps: time passes when
// the test moves the messages' times and the hosts' clocks.
//
// Hosts do things at the same time, too. Any claim, settlement or heartbeat can
// be stopped before the server has seen it, inside, when it has locked its rows
// and changed nothing, and after it was committed, before the host knows; there
// everybody else goes on. Then it goes on, or its connection is cut. The first
// and the last are internal/pgseam's doing, the one in the middle a trigger's.
// That gives settlements of unknown fate, zombies, duplicates, redeliveries of
// what still runs, and statements that wait for each other, without luck.
//
// A crash of the database forgets a number of the newest claims and heartbeats,
// which are committed asynchronously, and the hosts hear of a new incarnation.
//
// After each step the database is read in SQL of the test's own and compared
// with the model line by line: every message of the queue with its epoch, its
// time and all that has been counted against it, every dead letter, archived
// message, result and emitted message. So a message that is lost, a second
// result, a result without a settlement, an emit without its settlement and a
// failure that nobody had are all the same to it: a line too many or too few. A
// claim that hands out what is leased or not due fails when it is made, and each
// host is compared with what it should have in hand, and what it told the plugin
// and the observers. At the end of a case everything is settled without further
// faults, and nothing may be left.
//
// That the test would notice is proved by TestMutants: it breaks the code in each
// of the ways that matter and expects TestModel to fail.

import (
	"context"
	"encoding/json"
	"math/bits"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

const modelOwn pgmqtest.Layout = "own"

// TestModel lets hosts and the world around them do anything in any order, and
// compares the database with the model after each step.
func TestModel(t *testing.T) {
	t.Parallel()
	for _, layout := range []pgmqtest.Layout{modelOwn, pgmqtest.V1_4} {
		t.Run(string(layout), func(t *testing.T) {
			t.Parallel()
			checkModel(t, layout)
		})
	}
}

func checkModel(t *testing.T, layout pgmqtest.Layout) {
	dsn := modelDSN(t, layout)
	db, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	a := &audit{db: db, headers: layout.HasHeaders()}
	var sites []*site
	for _, name := range []string{"operator", "host1", "host2", "host3"} {
		s, err := openSite(t.Context(), dsn, name)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.close()) })
		sites = append(sites, s)
	}
	for _, queue := range []string{modelQueue, modelDead, modelResults, modelEmits} {
		_, err := sites[0].broker.CreateQueue(t.Context(), queue)
		require.NoError(t, err)
	}
	require.NoError(t, sites[0].broker.EnsureBookkeeping(t.Context()))
	a.exec(t, gateSQL)
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t, a, sites[0], sites[1:])
		defer m.close()
		for range 3 {
			t.Repeat(m.actions())
		}
		m.t = t
		m.drain()
	})
}

// modelDSN is a database with the layout. A mutant gets one from the test that
// runs it.
func modelDSN(t *testing.T, layout pgmqtest.Layout) string {
	if given := os.Getenv(mutantDatabases); given != "" {
		var dsns map[pgmqtest.Layout]string
		require.NoError(t, json.Unmarshal([]byte(given), &dsns))
		return dsns[layout]
	}
	return freshModelDatabase(t, layout)
}

const mutantDatabases = "STEPHOST_MODEL_DATABASES"

func freshModelDatabase(t *testing.T, layout pgmqtest.Layout) string {
	if layout != modelOwn {
		return pgmqtest.New(t, layout)
	}
	return devpgtest.New(t, devpgtest.Template("model", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := schema.Install(ctx, conn)
		return err
	}))
}

// actions are all that can happen, and how often.
func (m *machine) actions() map[string]func(*rapid.T) {
	type action struct {
		weight int
		name   string
		do     func(*rapid.T)
	}
	var actions []action
	for _, a := range []action{
		{6, "send", m.doSend}, {14, "claim", m.doClaim}, {3, "claim one", m.doClaimOne},
		{20, "a handler ends", m.doOutcome}, {14, "settle", m.doFlush}, {6, "heartbeat", m.doBeat},
		{3, "the plugin dies", m.doCrash}, {2, "the stream ends", m.doVanish},
		{4, "suspects have their turn", m.doTurn}, {2, "the probation dies", m.doCrashApart},
		{8, "go on", m.doGoOn}, {4, "cut", m.doCut}, {6, "time passes", m.doPass},
		{2, "a host dies", m.doHostDies}, {1, "a host drains", m.doHostDrains}, {3, "the database crashes", m.doDatabaseCrash},
		{3, "a host freezes", m.doFreeze}, {1, "hosts die one after the other", m.doLoseHosts}, {3, "poison is searched for", m.doSearch},
		{2, "a settlement is overtaken", m.doOvertake}, {2, "a message fails until it is dead", m.doSpend},
		{2, "the queue is another one", m.doRenew},
		{4, "an old settlement comes again", m.doAgain}, {4, "a heartbeat comes again", m.doHeartbeatAgain},
		{1, "drop and create", m.doDrop}, {1, "purge", m.doPurge}, {2, "replay", m.doReplay},
	} {
		for range a.weight {
			actions = append(actions, a)
		}
	}
	any := uniform(len(actions))
	return map[string]func(*rapid.T){"": m.check, "step": func(t *rapid.T) {
		m.t = t
		a := actions[any.Draw(t, "action")]
		t.Logf("* %s", a.name)
		a.do(t)
	}}
}

// uniform draws from 0 to n-1, all of them alike: rapid's own integers are small
// most of the time.
func uniform(n int) *rapid.Generator[int] {
	return rapid.Custom(func(t *rapid.T) int {
		number := 0
		for range bits.Len(uint(n)) + 3 {
			number <<= 1
			if rapid.Bool().Draw(t, "") {
				number++
			}
		}
		return number % n
	})
}

func pick[T any](t *rapid.T, label string, from []T) T {
	chosen := from[uniform(len(from)).Draw(t, label)]
	t.Logf("  %s: %v", label, chosen)
	return chosen
}

func (m *machine) host(t *rapid.T) *vhost {
	return pick(t, "host", m.hosts)
}

// free is a host whose loop is not stopped.
func (m *machine) free(t *rapid.T, kind kindOfOp) *vhost {
	h := m.host(t)
	if m.busy(h, kind) {
		t.Skip("is stopped already")
	}
	return h
}

// point draws where an op is stopped. One at a time is inside.
func (m *machine) point(t *rapid.T) point {
	points := []point{nowhere, nowhere, nowhere, atRequest, inside, atReply}
	at := pick(t, "point", points)
	if at == inside && m.gated != nil {
		return nowhere
	}
	return at
}

// ungated is for actions that would wait for rows which are locked.
func (m *machine) ungated(t *rapid.T) {
	if m.gated != nil {
		t.Skip("rows are locked")
	}
}

func (m *machine) doClaim(t *rapid.T) {
	h := m.free(t, claimOp)
	m.claim(h, rapid.IntRange(1, 4).Draw(t, "limit"), 0, m.point(t))
}

func (m *machine) doClaimOne(t *rapid.T) {
	h := m.free(t, claimOp)
	rows := m.world.sorted()
	if len(rows) == 0 {
		t.Skip("the queue is empty")
	}
	m.claim(h, 1, pick(t, "message", rows).id, nowhere)
}

func draw(t *rapid.T, h *vhost, which func(*grip) bool) *grip {
	grips := h.where(which)
	if len(grips) == 0 {
		t.Skip("nothing to choose from")
	}
	return pick(t, "step", grips)
}

func (m *machine) doFlush(t *rapid.T) {
	h := m.free(t, settleOp)
	at := m.point(t)
	if at == nowhere && m.gated == nil {
		if len(h.where(isDecided)) == 0 {
			t.Skip("nothing to settle")
		}
		m.flush(h, nil, at)
		return
	}
	m.flush(h, draw(t, h, isDecided), at)
}

func (m *machine) doBeat(t *rapid.T) { m.beat(m.free(t, beatOp), m.point(t)) }

func (m *machine) drawPaused(t *rapid.T) *op {
	if len(m.paused) == 0 {
		t.Skip("nothing is stopped")
	}
	return pick(t, "stopped", m.paused)
}

func (m *machine) doGoOn(t *rapid.T) { m.resume(m.drawPaused(t), false) }

func (m *machine) doCut(t *rapid.T) {
	o := m.drawPaused(t)
	if o.at == inside {
		t.Skip("cannot be cut")
	}
	m.resume(o, true)
}

func (m *machine) doPass(t *rapid.T) {
	m.ungated(t)
	m.pass(time.Duration(pick(t, "ticks", []int{1, 2, 4})) * modelTick)
}

// doHeartbeatAgain: a heartbeat that was sent at any time arrives.
func (m *machine) doHeartbeatAgain(t *rapid.T) {
	var leases []queues.Lease
	for _, old := range m.sent {
		leases = append(leases, old.settlement.Lease)
	}
	for _, h := range m.hosts {
		for _, g := range h.where(func(*grip) bool { return true }) {
			leases = append(leases, queues.Lease{Queue: modelQueue, ID: g.key.id, Epoch: queues.Epoch(g.epoch), EnqueuedAt: time.UnixMicro(g.key.enqueued)})
		}
	}
	if m.gated != nil { // what is locked is the most interesting
		leases = slices.DeleteFunc(leases, func(l queues.Lease) bool { return !m.gated.rows[rowKey{l.ID, l.EnqueuedAt.UnixMicro()}] })
	}
	if len(leases) == 0 {
		t.Skip("there was no lease")
	}
	lease := pick(t, "lease", leases)
	held, skipped := m.world.extend(rowKey{lease.ID, lease.EnqueuedAt.UnixMicro()}, int32(lease.Epoch))
	var statuses []queues.ExtendStatus
	var err error
	m.unhindered(beatOp.application(m.operator), func() {
		statuses, err = m.operator.broker.Extend(context.Background(), modelQueue, []queues.Lease{lease}, modelLease)
	})
	require.NoError(t, err)
	want := queues.ExtendLost
	switch {
	case skipped:
		want = queues.ExtendSkipped
	case held:
		want = queues.Extended
	}
	require.Equal(t, []queues.ExtendStatus{want}, statuses)
	m.forgettable(held && !skipped)
}

func (m *machine) doAgain(t *rapid.T) {
	m.ungated(t)
	if len(m.sent) == 0 {
		t.Skip("nothing was sent")
	}
	m.again(pick(t, "settlement", m.sent))
}

// doHostDies: the process is gone, and its connections with it.
func (m *machine) doHostDies(t *rapid.T) {
	h := m.host(t)
	if m.gated != nil && m.gated.host == h {
		t.Skip("rows are locked")
	}
	for _, o := range slices.Clone(m.paused) {
		if o.host == h {
			m.resume(o, true)
		}
	}
	m.reboot(h)
}

// doHostDrains: it gives everything back and ends.
func (m *machine) doHostDrains(t *rapid.T) {
	m.ungated(t)
	h := m.host(t)
	if slices.ContainsFunc(m.paused, func(o *op) bool { return o.host == h }) {
		t.Skip("has something under way")
	}
	h.lane.stop()
	h.lane.cancelAll(nil, pluginv1.CancelReason_CANCEL_REASON_DRAINING)
	h.lane.giveUp("the host is shutting down")
	for _, g := range h.where(func(g *grip) bool { return g.running || g.waiting }) {
		g.end(g.released())
	}
	for len(h.where(isDecided)) > 0 {
		m.flush(h, nil, nowhere)
	}
	m.checkHost(h)
	m.reboot(h)
}

// doDatabaseCrash: the server ends and comes back without the newest of what
// was committed asynchronously.
func (m *machine) doDatabaseCrash(t *rapid.T) {
	m.ungated(t)
	for len(m.paused) > 0 {
		m.resume(m.paused[0], true)
	}
	if forgotten := rapid.IntRange(0, len(m.undo)).Draw(t, "forgotten"); forgotten > 0 {
		m.restore(m.undo[len(m.undo)-forgotten])
	}
	m.undo = nil
	m.incarnation.Add(1)
	if rapid.Bool().Draw(t, "a keeper finds its connection dead") {
		h := m.host(t)
		m.beat(h, atRequest)
		if m.busy(h, beatOp) {
			m.resume(m.paused[len(m.paused)-1], true)
		}
	}
}

func (m *machine) restore(old snapshot) {
	for _, r := range old.raw {
		m.audit.exec(m.t, `UPDATE pgmq.q_ns_queue SET read_ct = $2, vt = $3 WHERE msg_id = $1`, r.id, r.epoch, r.vt)
	}
	for key, was := range old.model {
		r := m.world.rows[key]
		r.epoch, r.due, r.lost = was.epoch, was.due, was.lost
	}
}
