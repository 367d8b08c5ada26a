package sdk

import (
	"sync"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// memberOverhead is what a result or an emitted message occupies beside its
// texts and bodies, rounded up.
const memberOverhead = 64

// outbox gathers what a stream has to say. What is in it when the sender is
// signalled travels together, and so does what comes while a Send is in flight.
// It holds at most one result and one heartbeat for
// each step in flight, so the host's own limits bound it.
type outbox struct {
	mu      sync.Mutex
	results []*pluginv1.Result
	beating []*task
	closed  bool
	// wake has room for one signal: there is something to send, or the end.
	wake chan struct{}
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

// answer queues a step's result, behind the sign of life that may still wait:
// the last one is sent, however soon the handler returns after it. t is nil
// where no task was made. The caller flushes.
func (o *outbox) answer(t *task, r *pluginv1.Result) {
	o.mu.Lock()
	if t != nil {
		t.answered = true
	}
	o.results = append(o.results, r)
	o.mu.Unlock()
}

// beat queues a sign of life, in place of one that still waits.
func (o *outbox) beat(t *task, b *pluginv1.Heartbeat) {
	o.mu.Lock()
	if t.answered {
		o.mu.Unlock()
		return
	}
	if t.beat == nil {
		o.beating = append(o.beating, t)
	}
	t.beat = b
	o.mu.Unlock()
	o.signal()
}

// close lets send return once everything is sent.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.signal()
}

// flush has the sender send the results that are queued, if there are any.
func (o *outbox) flush() {
	o.mu.Lock()
	queued := len(o.results) > 0
	o.mu.Unlock()
	if queued {
		o.signal()
	}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take returns all that is queued and whether more may come. The slices that
// it is given are reused for what is queued next.
func (o *outbox) take(results []*pluginv1.Result, beats []*pluginv1.Heartbeat) ([]*pluginv1.Result, []*pluginv1.Heartbeat, bool) {
	clear(results)
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.results
	o.results = results[:0]
	for _, t := range o.beating {
		if t.beat != nil {
			beats = append(beats, t.beat)
			t.beat = nil
		}
	}
	clear(o.beating)
	o.beating = o.beating[:0]
	return taken, beats, !o.closed
}

// run sends until the outbox is closed and empty. After a failed Send the rest
// is taken and thrown away, because nobody is there to read it; the error is
// returned at the end.
func (o *outbox) run(send func(*pluginv1.ExecuteResponse) error) error {
	var (
		failure error
		results []*pluginv1.Result
		beats   []*pluginv1.Heartbeat
		msg     pluginv1.ExecuteResponse
	)
	for more := true; more; {
		<-o.wake
		results, beats, more = o.take(results, beats[:0])
		// Signs of life are never later than their steps' results.
		msg.Heartbeats = beats
		for rest := results; failure == nil && (len(rest) > 0 || len(msg.Heartbeats) > 0); {
			n := batchLen(rest)
			msg.Results, rest = rest[:n], rest[n:]
			failure = send(&msg)
			msg.Heartbeats = nil
		}
	}
	return failure
}

// batchLen returns how many of the results travel in one message: at least
// one, and else as many as fit.
func batchLen(results []*pluginv1.Result) int {
	bytes := 0
	for i, r := range results {
		if i == protocol.MaxBatchSteps {
			return i
		}
		bytes += resultSize(r)
		if bytes > protocol.MaxBatchBytes && i > 0 {
			return i
		}
	}
	return len(results)
}

// resultSize estimates a result's encoded size from above.
func resultSize(r *pluginv1.Result) int {
	switch o := r.GetOutcome().(type) {
	case *pluginv1.Result_Success:
		size := memberOverhead + len(o.Success.GetOutput())
		for _, e := range o.Success.GetEmits() {
			size += emitSize(e)
		}
		return size
	case *pluginv1.Result_Failure:
		return memberOverhead + len(o.Failure.GetMessage()) + len(o.Failure.GetType()) + len(o.Failure.GetStack())
	default:
		return memberOverhead
	}
}
