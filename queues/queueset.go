package queues

import "slices"

// queueSet is the queues of a source. A set is never changed, only replaced,
// so its address tells whether it is still the one in force.
type queueSet struct {
	names  []string
	wanted map[string]struct{}
}

func newQueueSet(names []string) *queueSet {
	s := &queueSet{wanted: make(map[string]struct{}, len(names))}
	for _, name := range names {
		if !s.has(name) {
			s.wanted[name] = struct{}{}
			s.names = append(s.names, name)
		}
	}
	return s
}

func (s *queueSet) has(queue string) bool {
	_, ok := s.wanted[queue]
	return ok
}

// without returns the queues of s that are not in other.
func (s *queueSet) without(other *queueSet) []string {
	return slices.DeleteFunc(slices.Clone(s.names), other.has)
}
