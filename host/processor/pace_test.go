package processor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPrefetchFollowsThePaceOfTheHandlers(t *testing.T) {
	t.Parallel()
	const claim = time.Millisecond
	begin := time.Now()
	cycle := func(p *prefetch, ended int, cycle time.Duration) {
		begin = begin.Add(cycle)
		p.ended = ended
		p.paced(begin, begin.Add(claim))
		begin = begin.Add(claim)
	}
	var p prefetch
	cycle(&p, 1000, 0)
	require.Zero(t, p.free(), "nothing is known yet")
	for range 20 {
		cycle(&p, 50, claim)
	}
	require.InDelta(t, prefetchClaims*25, p.free(), 2, "50 in 2 ms, of which a claim is one")

	for range p.places/2 + 1 {
		p.add(&entry{}, begin)
	}
	require.Zero(t, p.free(), "more than half wait: not worth a claim")
	p.remove(p.waiting[0])
	require.Positive(t, p.free())

	for range 20 {
		cycle(&p, 50, 10*time.Second)
	}
	require.Zero(t, p.places, "slow handlers: none")

	for range 20 {
		cycle(&p, 50, claim)
	}
	p.takeAll()
	p.add(&entry{}, begin)
	require.Empty(t, p.takeOverdue(begin.Add(prefetchPatience)))
	require.Positive(t, p.places)
	require.Len(t, p.takeOverdue(begin.Add(prefetchPatience+1)), 1)
	cycle(&p, 50, claim)
	require.Zero(t, p.places, "a pace that was wrong is learnt anew")
}
