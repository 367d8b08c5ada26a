package supervisor

import (
	"fmt"
	"sync/atomic"

	"github.com/stephost/stephost/host/processor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// group counts the steps of a turn back in.
type group struct {
	processor.Sink
	left  atomic.Int64
	ended chan struct{}
	// message is the only one of the group; empty where there are more.
	message string
}

func newGroup(sink processor.Sink, steps []*pluginv1.Step) *group {
	g := &group{Sink: sink, ended: make(chan struct{})}
	g.left.Store(int64(len(steps)))
	if len(steps) == 1 {
		g.message = fmt.Sprintf("%s/%d", steps[0].GetNamespace(), steps[0].GetMessageId())
	}
	return g
}

func (g *group) back(steps int) {
	if g.left.Add(-int64(steps)) == 0 {
		close(g.ended)
	}
}

// Results implements processor.Sink.
func (g *group) Results(results []*pluginv1.Result) {
	g.Sink.Results(results)
	g.back(len(results))
}

// Returned implements processor.Sink.
func (g *group) Returned(ids []uint64) {
	g.Sink.Returned(ids)
	g.back(len(ids))
}

// Lost implements processor.Sink.
func (g *group) Lost(ids []uint64, cause error) {
	g.Sink.Lost(ids, cause)
	g.back(len(ids))
}
