package sdk

import (
	"sync"

	"github.com/stephost/stephost/plugin/protocol"
)

// slots knows every step in the process and decides when each may run. Beyond
// the plugin's limit, steps wait in order of arrival. The waiting room is
// bounded: a host that respects the limit never fills it.
type slots struct {
	mu      sync.Mutex
	limit   int // 0: none
	running int
	tasks   map[uint64]*task
	waiting []*task
}

// admission is what became of a step that arrived.
type admission int

const (
	started admission = iota
	waits
	overflows
	duplicates
)

func newSlots(limit int) *slots {
	return &slots{limit: limit, tasks: map[uint64]*task{}}
}

// admit takes a batch in and reports for each task what to do with it.
func (s *slots) admit(batch []*task, became []admission) []admission {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range batch {
		became = append(became, s.admitOne(t))
	}
	return became
}

func (s *slots) admitOne(t *task) admission {
	id := t.step.GetId()
	if _, exists := s.tasks[id]; exists {
		return duplicates
	}
	if s.limit == 0 || s.running < s.limit {
		s.tasks[id] = t
		s.running++
		return started
	}
	if len(s.waiting) >= max(s.limit, protocol.MaxBatchSteps) {
		return overflows
	}
	s.tasks[id] = t
	s.waiting = append(s.waiting, t)
	return waits
}

// release ends a running task and returns the one that may run in its place,
// or nil.
func (s *slots) release(t *task) *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tasks, t.step.GetId())
	if len(s.waiting) == 0 {
		s.running--
		return nil
	}
	next := s.waiting[0]
	s.waiting[0] = nil
	s.waiting = s.waiting[1:]
	return next
}

// cancel ends the context of a running task, or withdraws a waiting one and
// returns it. Unknown ids are those of steps that have just ended.
func (s *slots) cancel(id uint64, cause error) (withdrawn *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[id]
	if t == nil {
		return nil
	}
	for i, w := range s.waiting {
		if w == t {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			delete(s.tasks, id)
			return t
		}
	}
	t.cancel(cause)
	return nil
}

// withdraw removes and returns the tasks of a stream that still wait.
func (s *slots) withdraw(st *stream) []*task {
	s.mu.Lock()
	defer s.mu.Unlock()
	var withdrawn []*task
	kept := s.waiting[:0]
	for _, t := range s.waiting {
		if t.stream == st {
			withdrawn = append(withdrawn, t)
			delete(s.tasks, t.step.GetId())
		} else {
			kept = append(kept, t)
		}
	}
	clear(s.waiting[len(kept):])
	s.waiting = kept
	return withdrawn
}

// cancelStream ends the contexts of all running tasks of a stream.
func (s *slots) cancelStream(st *stream, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if t.stream == st {
			t.cancel(cause)
		}
	}
}
