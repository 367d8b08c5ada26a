package supervisor

import (
	"github.com/stephost/stephost/host/processor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// router sorts what a plugin sends by sink. It belongs to a stream's receiver
// and keeps its scratch space between batches.
type router struct {
	results []routed[*pluginv1.Result]
	beats   []routed[*pluginv1.Heartbeat]
}

// routed are the members of a batch for one sink.
type routed[M any] struct {
	sink    processor.Sink
	members []M
}

// fewMembers is what a further group of a batch has room for at first.
const fewMembers = 16

// deliver hands a batch to its sinks. A result for a step that is not in
// flight, a second one too, is counted and ignored.
func (r *router) deliver(s *stream, resp *pluginv1.ExecuteResponse) {
	s.mu.Lock()
	strays := 0
	for _, res := range resp.GetResults() {
		sink, ok := s.sinks[res.GetId()]
		if !ok {
			strays++
			continue
		}
		delete(s.sinks, res.GetId())
		r.results = route(r.results, sink, res, len(resp.GetResults()))
	}
	for _, beat := range resp.GetHeartbeats() {
		if sink, ok := s.sinks[beat.GetId()]; ok {
			r.beats = route(r.beats, sink, beat, len(resp.GetHeartbeats()))
		}
	}
	s.relieve()
	s.mu.Unlock()

	s.inFlight.Add(int64(strays - len(resp.GetResults())))
	if strays > 0 {
		s.counters.stray.Add(uint64(strays))
	}
	if outcomes := len(resp.GetResults()) - strays; outcomes > 0 {
		s.counters.streak.outcomes.Add(uint64(outcomes))
	}
	for _, group := range r.results {
		group.sink.Results(group.members)
	}
	for _, group := range r.beats {
		group.sink.Heartbeats(group.members)
	}
	// Members belong to the sinks now.
	clear(r.results)
	clear(r.beats)
	r.results, r.beats = r.results[:0], r.beats[:0]
}

// route adds a member to its sink's group. Lanes that share a plugin are few,
// and mostly the last group is the right one. At most of members come in all: the
// first group has room for them, since it mostly gets them, and others begin small.
func route[M any](groups []routed[M], sink processor.Sink, m M, of int) []routed[M] {
	for i := len(groups) - 1; i >= 0; i-- {
		if groups[i].sink == sink {
			groups[i].members = append(groups[i].members, m)
			return groups
		}
	}
	if len(groups) > 0 {
		of = min(of, fewMembers)
	}
	return append(groups, routed[M]{sink: sink, members: append(make([]M, 0, of), m)})
}
