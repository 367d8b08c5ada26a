// Package measure tells how long a run took to be as before.
package measure

import (
	"slices"
	"time"
)

// step is how finely the recovery is told, window is what must be as before for
// that long.
const (
	step   = 100 * time.Millisecond
	window = time.Second
)

// Flow is when messages were committed and when their settlement was, each in
// any order.
type Flow struct{ Sent, Settled []time.Time }

// Recovery tells how long after the end of a fault the flow was normal again:
// the time to the beginning of the first second in which at least nine tenths as
// many messages were settled as were sent, at whose beginning no more messages
// wait than did so at the worst moment of the warm-up, with a tenth of a
// second's load on top. Zero means that the first second was normal. The answer
// is no when there is no such second before the load ended.
func Recovery(flow Flow, warm, fault, end, stop time.Time, rate int) (time.Duration, bool) {
	sent, settled := slices.Clone(flow.Sent), slices.Clone(flow.Settled)
	slices.SortFunc(sent, time.Time.Compare)
	slices.SortFunc(settled, time.Time.Compare)
	before := func(times []time.Time, at time.Time) int {
		n, _ := slices.BinarySearchFunc(times, at, time.Time.Compare)
		return n
	}
	backlog := func(at time.Time) int { return before(sent, at) - before(settled, at) }
	usual := 0
	for at := warm; at.Before(fault); at = at.Add(step / 10) {
		usual = max(usual, backlog(at))
	}
	usual += rate / 10
	for at := end; !at.Add(window).After(stop); at = at.Add(step) {
		offered := before(sent, at.Add(window)) - before(sent, at)
		done := before(settled, at.Add(window)) - before(settled, at)
		if offered > 0 && 10*done >= 9*offered && backlog(at) <= usual {
			return at.Sub(end), true
		}
	}
	return 0, false
}
