package pgmq

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/queues"
)

// Bounds of one settlement statement.
const (
	maxMembers = 1000
	maxBytes   = 8 << 20
	maxTargets = 32
)

// kind is an action's group; each kind has a statement of its own.
type kind int

const (
	kindComplete kind = iota
	kindRetry
	kindRelease
	kindDead
)

// givesBack tells whether the messages stay in the queue.
func (k kind) givesBack() bool { return k == kindRetry || k == kindRelease }

// group is the members of a batch that one kind of statement settles.
type group struct {
	kind kind
	dead string // the dead-letter queue
}

// member is one settlement on its way.
type member struct {
	at     int // its place in the batch
	lease  queues.Lease
	delay  int64 // microseconds
	record string
	send   []queues.Outgoing
	bytes  int
}

// Settle implements queues.Broker. Members of one kind share a statement, in
// the order of their ids, so that settlements do not deadlock with each other;
// where the planner chooses another order, the server's deadlock detection and
// a repetition settle it.
//
// A member that the database refuses is found by halving its batch. A queue
// whose table has no headers column gets what is sent to it without headers.
func (b *Broker) Settle(ctx context.Context, queue string, batch []queues.Settlement) []queues.SettleResult {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	s := &settling{b: b, ctx: ctx, queue: queue, results: make([]queues.SettleResult, len(batch))}
	for _, g := range s.sort(batch) {
		s.chunks(g.group, g.members)
	}
	return s.results
}

// settling is one call of Settle.
type settling struct {
	b       *Broker
	ctx     context.Context
	queue   string
	results []queues.SettleResult
}

type groupMembers struct {
	group
	members []member
}

func (s *settling) sort(batch []queues.Settlement) []groupMembers {
	var groups []groupMembers
	for i, settlement := range batch {
		g, m, err := describeMember(settlement)
		if err == nil && settlement.Queue != s.queue {
			err = fmt.Errorf("the lease belongs to queue %q", settlement.Queue)
		}
		if err != nil {
			s.refuse(i, settlement.ID, err)
			continue
		}
		m.at = i
		at := slices.IndexFunc(groups, func(have groupMembers) bool { return have.group == g })
		if at < 0 {
			at = len(groups)
			groups = append(groups, groupMembers{group: g, members: make([]member, 0, len(batch)-i)})
		}
		groups[at].members = append(groups[at].members, m)
	}
	for _, g := range groups {
		slices.SortStableFunc(g.members, func(x, y member) int { return compare(x.lease.ID, y.lease.ID) })
	}
	return groups
}

func describeMember(settlement queues.Settlement) (g group, m member, err error) {
	m.lease = settlement.Lease
	switch action := settlement.Action.(type) {
	case queues.Complete:
		g.kind, m.send = kindComplete, action.Send
	case queues.Retry:
		g.kind, m.delay = kindRetry, max(0, action.Delay.Microseconds())
		m.record, err = encodeRecord(action.Record)
	case queues.Release:
		g.kind = kindRelease
		m.record, err = encodeRecord(action.Record)
	case queues.DeadLetter:
		g.kind, g.dead, m.send = kindDead, action.Queue, action.Send
		m.record, err = encodeRecord(action.Record)
	default:
		err = fmt.Errorf("it has no action (%T)", action)
	}
	m.bytes = len(m.record)
	for _, out := range m.send {
		m.bytes += len(out.Body) + len(out.Headers)
	}
	return g, m, err
}

// chunks cuts a group into statements that are bounded in members, bytes and
// targets, and have each id once.
func (s *settling) chunks(g group, members []member) {
	for len(members) > 0 {
		n, bytes := 0, 0
		targets := make(map[string]struct{}, 2)
		most := ascending(min(len(members), maxMembers), func(i int) int64 { return members[i].lease.ID })
		for n < most && (n == 0 || bytes+members[n].bytes <= maxBytes) {
			for _, out := range members[n].send {
				targets[out.Queue] = struct{}{}
			}
			if n > 0 && len(targets) > maxTargets {
				break
			}
			bytes += members[n].bytes
			n++
		}
		s.settle(g, members[:n], false)
		members = members[n:]
	}
}

// settle runs one statement, and what has to follow when it fails. fresh says
// that the layouts have been read anew already.
func (s *settling) settle(g group, members []member, fresh bool) {
	tables, members := s.resolve(g, members)
	if len(members) == 0 {
		return
	}
	var done []int64
	err := retryTransient(s.ctx, func() (err error) {
		done, err = s.run(g, tables, members)
		return err
	})
	if err == nil {
		s.settled(members, done)
		return
	}
	fault := classify(err)
	if fault == faultStale && !fresh {
		s.b.layouts.drop(tables.names()...)
		s.b.announce.forget()
		s.settle(g, members, true)
		return
	}
	if len(members) > 1 && fault != faultUnknown && fault != faultTransient {
		half := len(members) / 2
		s.settle(g, members[:half], fresh)
		s.settle(g, members[half:], fresh)
		return
	}
	if fault == faultRefused {
		s.refuse(members[0].at, members[0].lease.ID, refusal(err))
		return
	}
	s.unknown(members, s.b.explain(err))
}

func (s *settling) settled(members []member, done []int64) {
	for _, m := range members {
		s.results[m.at].Status = queues.LeaseLost
	}
	for _, ord := range done {
		s.results[members[ord-1].at].Status = queues.Settled
	}
}

func (s *settling) refuse(at int, id int64, err error) {
	s.results[at] = queues.SettleResult{
		Status: queues.Refused,
		Err:    fmt.Errorf("settle message %d of queue %q: %w", id, s.queue, err),
	}
}

func (s *settling) unknown(members []member, err error) {
	err = fmt.Errorf("settle %d messages of queue %q: %w", len(members), s.queue, err)
	for _, m := range members {
		s.results[m.at] = queues.SettleResult{Status: queues.SettleUnknown, Err: err}
	}
}

// tables are the layouts that a statement needs.
type tables struct {
	source, dead *layout
	targets      []*layout // sorted by name
}

func (t tables) names() []string {
	names := []string{t.source.queue}
	if t.dead != nil {
		names = append(names, t.dead.queue)
	}
	for _, target := range t.targets {
		names = append(names, target.queue)
	}
	return names
}

// resolve finds the layouts. Members that send to a queue that does not exist
// are refused and left out.
func (s *settling) resolve(g group, members []member) (tables, []member) {
	names := []string{s.queue}
	if g.kind == kindDead {
		names = append(names, g.dead)
	}
	for _, m := range members {
		for _, out := range m.send {
			if !slices.Contains(names, out.Queue) {
				names = append(names, out.Queue)
			}
		}
	}
	known, err := s.b.layoutsOf(s.ctx, s.b.settle, names)
	if err == nil && g.kind == kindDead && known[g.dead] == nil {
		known, err = s.createDead(g.dead, names)
	}
	if errors.Is(err, queues.ErrName) {
		for _, m := range members {
			s.refuse(m.at, m.lease.ID, err)
		}
		return tables{}, nil
	}
	if err != nil {
		s.unknown(members, s.b.explain(err))
		return tables{}, nil
	}
	if known[s.queue] == nil {
		for _, m := range members {
			s.results[m.at] = queues.SettleResult{Status: queues.LeaseLost, Err: &queues.MissingQueueError{Queue: s.queue}}
		}
		return tables{}, nil
	}
	if g.kind == kindComplete && s.b.opts.OnComplete == Archive && !known[s.queue].archive {
		s.b.layouts.drop(s.queue)
		s.unknown(members, fmt.Errorf("it has no archive table %s: create it or set on_complete = %q", known[s.queue].a, Delete))
		return tables{}, nil
	}
	return s.resolved(g, members, known)
}

func (s *settling) createDead(queue string, names []string) (map[string]*layout, error) {
	if _, err := s.b.createQueue(s.ctx, s.b.settle, queue); err != nil {
		return nil, fmt.Errorf("create dead-letter queue: %w", err)
	}
	s.b.opts.Logger.Info("created dead-letter queue", "queue", queue)
	return s.b.layoutsOf(s.ctx, s.b.settle, names)
}

func (s *settling) resolved(g group, members []member, known map[string]*layout) (tables, []member) {
	t := tables{source: known[s.queue], dead: known[g.dead]}
	kept := make([]member, 0, len(members))
	used := make(map[string]bool, len(known))
	for _, m := range members {
		missing := slices.IndexFunc(m.send, func(out queues.Outgoing) bool { return known[out.Queue] == nil })
		if missing >= 0 {
			s.refuse(m.at, m.lease.ID, &queues.MissingQueueError{Queue: m.send[missing].Queue})
			continue
		}
		for _, out := range m.send {
			used[out.Queue] = true
		}
		kept = append(kept, m)
	}
	for name := range used {
		t.targets = append(t.targets, known[name])
	}
	slices.SortFunc(t.targets, func(x, y *layout) int {
		if x.queue < y.queue {
			return -1
		}
		return 1
	})
	return t, kept
}

// run builds and runs the statement and returns the ordinals, from one, of the
// members whose rows it found.
func (s *settling) run(g group, t tables, members []member) ([]int64, error) {
	family, err := s.b.announce.current(s.ctx, s.b)
	if err != nil {
		return nil, err
	}
	sends := outgoingTo(t.targets, family, members)
	text := s.b.statements.get(statementKey(g, t, family, sends), func() string { return s.b.settleSQL(g, t, family, sends) })
	rows, err := s.b.settle.Query(s.ctx, text, settleArgs(g, members, sends)...)
	if err != nil {
		return nil, err
	}
	done := make([]int64, 0, len(members))
	var ord int64
	_, err = pgx.ForEachRow(rows, []any{&ord}, func() error {
		done = append(done, ord)
		return nil
	})
	return done, err
}
