package processor

import (
	"slices"
	"sync"
)

// newcomerShare is the part of the host's slots that only lanes with nothing
// in flight may take, so that the first message of a quiet namespace does not
// wait for a slow one's handlers.
const newcomerShare = 20 // one in twenty

// slots hands out the host's places for running steps. A lane that has work
// is guaranteed half of an equal share among the lanes that have work; the
// other half goes to whoever asks first. A small reserve is kept for lanes
// that have nothing in flight yet. All methods are safe for concurrent use.
type slots struct {
	mu     sync.Mutex
	total  int
	used   int
	shares []*share
	// starved are the shares that got less than they asked for, oldest first.
	starved []*share
}

// share is one lane's part.
type share struct {
	used    int
	limit   int // the namespace's concurrency
	active  bool
	waiting bool
	wake    func()
}

func newSlots(total int) *slots { return &slots{total: total} }

// join adds a lane. wake is called, never under the lock, when slots have
// become free that it had asked for in vain.
func (s *slots) join(limit int, wake func()) *share {
	sh := &share{limit: limit, wake: wake}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares = append(s.shares, sh)
	return sh
}

// leave removes a lane that holds no slots any more.
func (s *slots) leave(sh *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares = slices.DeleteFunc(s.shares, func(other *share) bool { return other == sh })
	s.starved = slices.DeleteFunc(s.starved, func(other *share) bool { return other == sh })
}

// resize changes how many slots there are; the caller wakes the lanes. Slots in
// use beyond the new total stay in use until they are released.
func (s *slots) resize(total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total = total
}

// relimit changes a lane's bound.
func (s *slots) relimit(sh *share, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.limit = limit
}

// reserve takes up to want slots and returns how many it took.
func (s *slots) reserve(sh *share, want int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.active = true
	want = min(want, sh.limit-sh.used)
	if want <= 0 {
		return 0
	}
	granted := max(min(want, s.available(sh)), 0)
	sh.used += granted
	s.used += granted
	if granted < want && !sh.waiting {
		sh.waiting = true
		s.starved = append(s.starved, sh)
	}
	return granted
}

// available is how many slots sh may take now.
func (s *slots) available(sh *share) int {
	active, newcomers := 0, 0
	for _, other := range s.shares {
		if other.active {
			active++
		}
		if other.used == 0 && other != sh {
			newcomers++
		}
	}
	guarantee := s.total / (2 * max(active, 1))
	free := s.total - s.used
	for _, other := range s.shares {
		if other != sh && other.active {
			free -= max(min(guarantee, other.limit)-other.used, 0)
		}
	}
	reserve := min(newcomers, (s.total-1)/newcomerShare)
	if sh.used == 0 {
		return max(free-reserve, min(free, reserve))
	}
	return free - reserve
}

// release gives slots back. idle says that the lane found its queue empty: it
// keeps no guarantee until it asks again.
func (s *slots) release(sh *share, n int, idle bool) {
	s.mu.Lock()
	sh.used -= n
	s.used -= n
	if idle && sh.used == 0 {
		sh.active = false
	}
	wake := s.starved
	if n > 0 || idle {
		s.starved = nil
		for _, w := range wake {
			w.waiting = false
		}
	} else {
		wake = nil
	}
	s.mu.Unlock()
	for _, w := range wake {
		w.wake()
	}
}

// usage returns the slots in use and their total.
func (s *slots) usage() (used, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used, s.total
}
