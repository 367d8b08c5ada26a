package sdk

import pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"

// LimitResults lowers the bound on one result.
func (s *Server) LimitResults(bytes int) { s.svc.maxResultBytes = bytes }

// Debugged serves as in a debugger.
func (s *Server) Debugged() { s.svc.untimed = true }

// CrewTakes lets a crew take steps one by one while others always wait. It
// returns their ids, and for how many the queue has room at the end.
func CrewTakes(steps, waiting int) (ids []uint64, room int) {
	c := crew{coming: true} // so that no goroutine comes
	for id := range steps + waiting {
		c.start(&task{step: &pluginv1.Step{Id: uint64(id)}})
		if id >= waiting {
			t, _ := c.take(false)
			ids = append(ids, t.step.GetId())
		}
	}
	return ids, cap(c.queue)
}
