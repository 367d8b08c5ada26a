package processor

import "slices"

// aloneLevel is the level of suspicion from which a message runs alone.
const aloneLevel = 3

// groupSize is how many suspects of a level of suspicion may run together. The
// levels narrow the search down: of 50 messages that were in flight beside one
// that kills the process, 4 groups of up to 16 run; of the group that ended
// with a crash 4 groups of 4; the last 4 run alone. Everyone else is cleared by
// an outcome on the way. The level travels with the message, so it does not
// matter which host runs the next group.
func groupSize(suspicion int) int {
	switch {
	case suspicion <= 1:
		return 16
	case suspicion < aloneLevel:
		return 4
	default:
		return 1
	}
}

// suspects are a lane's messages that were in flight when the plugin crashed.
// They wait here, without a slot, for their turn in the plugin's probation.
// They are guarded by the lane's mutex.
type suspects struct {
	waiting []*entry // oldest first
	bytes   int64    // of their bodies
	// running is how many of the latest group have no outcome yet.
	running int

	// slots are held for the next group.
	slots int
	// asked is where a turn has been asked for, or nil; fresh is with what.
	asked Executor
	fresh bool
}

// suspect tells whether the entry's message must not run beside others.
func (e *entry) suspect() bool { return e.record.Suspicion > 0 }

// mustWait tells whether the entry is a suspect that has to wait for a turn
// apart. A plugin in a debugger takes it like any other: somebody wants to see
// what it does.
func (e *entry) mustWait(to ExecutorState) bool { return e.suspect() && !to.Untimed }

func (s *suspects) add(e *entry) {
	e.state = suspected
	s.waiting = append(s.waiting, e)
	s.bytes += e.bytes
}

// alone tells whether the next group is a single suspect by its level.
func (s *suspects) alone() bool {
	return len(s.waiting) > 0 && groupSize(s.waiting[0].record.Suspicion) == 1
}

// next is the size of the next group: the oldest suspect's level decides.
func (s *suspects) next() int {
	if len(s.waiting) == 0 {
		return 0
	}
	level, n := s.waiting[0].record.Suspicion, 0
	for _, e := range s.waiting {
		if sameGroup(e.record.Suspicion, level) {
			n++
		}
	}
	return min(n, groupSize(level))
}

// remove takes one off the list.
func (s *suspects) remove(e *entry) {
	if at := slices.Index(s.waiting, e); at >= 0 {
		s.waiting = slices.Delete(s.waiting, at, at+1)
		s.bytes -= e.bytes
	}
}

// take removes the next group, of at most limit.
func (s *suspects) take(limit int) (group []*entry) {
	limit = min(limit, s.next())
	if limit <= 0 {
		return nil
	}
	level := s.waiting[0].record.Suspicion
	rest := make([]*entry, 0, len(s.waiting)-limit)
	for _, e := range s.waiting {
		if len(group) < limit && sameGroup(e.record.Suspicion, level) {
			group = append(group, e)
			s.bytes -= e.bytes
		} else {
			rest = append(rest, e)
		}
	}
	s.waiting = rest
	return group
}

// takeAll removes everyone.
func (s *suspects) takeAll() []*entry {
	all := s.waiting
	s.waiting, s.bytes = nil, 0
	return all
}

func sameGroup(one, other int) bool {
	return min(one, aloneLevel) == min(other, aloneLevel)
}
