package processor

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stephost/stephost/queues"
)

// trial runs messages the way lanes and plugins do, until each has an outcome.
type trial struct {
	decide  decider
	poison  map[*entry]bool
	cleared []*entry
	dead    []*entry
}

// crashOf is a crash with so many steps in flight.
type crashOf int

func (crashOf) Error() string { return "crashed" }
func (crashOf) Trace() string { return "panic" }
func (n crashOf) Alone() bool { return n == 1 }

// run has a process execute a group; done complete before it ends. It ends when
// it has poison, or is killed from outside.
func (tr *trial) run(group, done []*entry, killed bool) {
	crashes := killed
	for _, e := range group {
		crashes = crashes || tr.poison[e]
	}
	if !crashes {
		done = group
	}
	finished := make(map[*entry]bool)
	for _, e := range done {
		if !tr.poison[e] {
			finished[e] = true
			tr.cleared = append(tr.cleared, e)
		}
	}
	lost := crashOf(len(group) - len(finished))
	for _, e := range group {
		if !finished[e] {
			tr.lose(e, lost)
		}
	}
}

func (tr *trial) lose(e *entry, cause error) {
	tr.decide.lost(e, cause, e.claimCall)
	switch a := e.action.(type) {
	case queues.Release:
		e.record = a.Record
	case queues.DeadLetter:
		e.record = a.Record
		tr.dead = append(tr.dead, e)
	}
	e.state = settling
}

// waiting are those without an end.
func (tr *trial) waiting(all []*entry) (left []*entry) {
	ended := make(map[*entry]bool)
	for _, e := range append(append([]*entry(nil), tr.cleared...), tr.dead...) {
		ended[e] = true
	}
	for _, e := range all {
		if !ended[e] {
			left = append(left, e)
		}
	}
	return left
}

func TestProbationConvictsPoisonAndNobodyElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := testDecider()
		d.ns.Retry.MaxCrashes = rapid.IntRange(1, 4).Draw(t, "max_crashes")
		tr := &trial{decide: d, poison: make(map[*entry]bool)}
		// With one message in flight the very first crash would be a proof.
		all := make([]*entry, rapid.IntRange(2, 80).Draw(t, "messages"))
		for n := range all {
			all[n] = testEntry()
			all[n].record = queues.Record{Accounted: 4}
			tr.poison[all[n]] = rapid.IntRange(0, 15).Draw(t, "kind") == 0
		}
		// Poison among them or not: the first crash has all of them in flight.
		tr.run(all, nil, true)

		crashes, outside := 1, 2
		for turns := 0; ; turns++ {
			var list suspects
			for _, e := range tr.waiting(all) {
				require.Positive(t, e.record.Suspicion)
				list.add(e)
			}
			if len(list.waiting) == 0 {
				break
			}
			require.Less(t, turns, 1000, "the search ends")
			list.waiting = rapid.Permutation(list.waiting).Draw(t, "order")
			group := list.take(rapid.IntRange(1, 20).Draw(t, "limit"))
			require.NotEmpty(t, group)
			require.LessOrEqual(t, len(group), groupSize(group[0].record.Suspicion))
			for _, e := range group {
				e.group = len(group)
			}
			// A kill from outside proves nothing as long as somebody else is there.
			killed := outside > 0 && len(group) > 1 && rapid.IntRange(0, 9).Draw(t, "killed") == 0
			if killed {
				outside--
			}
			done := group[:rapid.IntRange(0, len(group)).Draw(t, "done")]
			tr.run(group, done, killed)
			crashes++
		}
		for _, e := range all {
			require.Zero(t, e.record.Failures)
			require.EqualValues(t, e.lease.Epoch+1, e.record.Accounted, "no delivery counts towards max_deliveries")
			if tr.poison[e] {
				require.Contains(t, tr.dead, e)
				require.Equal(t, queues.DeadCrashes, e.record.Dead.Reason)
				require.Equal(t, d.ns.Retry.MaxCrashes, e.record.Crashes)
				require.Equal(t, 1, e.group, "it was alone")
			} else {
				require.Contains(t, tr.cleared, e)
				require.Zero(t, e.record.Crashes)
			}
		}
	})
}

func TestGroupsAreOfOneLevelAndInTheOrderOfTheOldest(t *testing.T) {
	t.Parallel()
	var list suspects
	levels := []int{2, 1, 2, 7, 1, 3, 2, 2, 2}
	for n, level := range levels {
		e := testEntry()
		e.id, e.bytes = uint64(n), 10
		e.record.Suspicion = level
		list.add(e)
	}
	var got [][]uint64
	for list.next() > 0 {
		var ids []uint64
		for _, e := range list.take(100) {
			ids = append(ids, e.id)
		}
		got = append(got, ids)
	}
	require.Equal(t, [][]uint64{{0, 2, 6, 7}, {1, 4}, {3}, {5}, {8}}, got)
	require.Zero(t, list.bytes)
	require.Equal(t, []int{16, 4, 1, 1}, []int{groupSize(1), groupSize(2), groupSize(3), groupSize(50)})
}
