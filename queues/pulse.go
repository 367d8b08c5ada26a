package queues

import (
	"sync"
	"time"
)

// Pulse is a loop's sign of life. Before each wait the loop promises when it
// will come round again at the latest; a loop that breaks its promise hangs.
// The zero value promises nothing. It is safe for concurrent use.
type Pulse struct {
	mu   sync.Mutex
	last time.Time
	due  time.Time
}

// Beat notes that the loop has come round and will again within the duration.
// Zero means that it may wait for as long as there is nothing to do.
func (p *Pulse) Beat(within time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	p.due = time.Time{}
	if within > 0 {
		p.due = p.last.Add(within)
	}
}

// Last is when the loop last came round; zero means never.
func (p *Pulse) Last() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// Overdue is for how long the loop's promise has been broken, or zero.
func (p *Pulse) Overdue() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.due.IsZero() {
		return 0
	}
	return max(time.Since(p.due), 0)
}
