package sdk

import (
	"runtime"
	"sync"
	"time"
)

// gatherFor is how long a goroutine goes on with steps before it has their
// results sent. It is less than a process switch costs anybody.
const gatherFor = 100 * time.Microsecond

// crew runs the steps of a stream, each at once: as long as a step waits, a
// goroutine is on its way that will take it, whatever those that have one are
// doing. A goroutine that is done takes the next step itself. So handlers that
// return at once share a few goroutines, and their results travel together;
// handlers that wait have a goroutine each.
type crew struct {
	out *outbox

	mu    sync.Mutex
	queue []*task
	head  int
	// coming: a goroutine has been started and has taken nothing yet.
	coming bool
}

// start runs the tasks, beginning with the first.
func (c *crew) start(tasks ...*task) {
	if len(tasks) == 0 {
		return
	}
	c.mu.Lock()
	// Also where some always wait, the queue is no longer than twice what does.
	if c.head >= len(c.queue)-c.head {
		waiting := copy(c.queue, c.queue[c.head:])
		clear(c.queue[c.head:])
		c.queue, c.head = c.queue[:waiting], 0
	}
	c.queue = append(c.queue, tasks...)
	c.call()
	c.mu.Unlock()
}

// call sees to it that a goroutine comes while a task waits; c.mu is held.
func (c *crew) call() {
	if !c.coming && c.head < len(c.queue) {
		c.coming = true
		go c.work()
	}
}

// work runs tasks until none waits. A handler may end the goroutine: then those
// that wait have another one coming.
func (c *crew) work() {
	defer c.out.flush()
	since := time.Now()
	t, more := c.take(true)
	// Those that run may be stuck in a handler, with results in hand.
	c.out.flush()
	for t != nil {
		if !more {
			// Nobody comes any more: what is in hand must not wait for this one.
			c.out.flush()
		}
		t.run()
		if now := time.Now(); now.Sub(since) >= gatherFor {
			since = now
			c.out.flush()
			runtime.Gosched()
		}
		t, more = c.take(false)
	}
}

// take returns the next task, or nil, and whether more wait. first says that
// the goroutine has just come.
func (c *crew) take(first bool) (t *task, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first {
		c.coming = false
	}
	if c.head == len(c.queue) {
		return nil, false
	}
	t = c.queue[c.head]
	c.queue[c.head] = nil
	c.head++
	c.call()
	return t, c.head < len(c.queue)
}
