package processor

import (
	"context"
	"sync"
)

// budget bounds the bytes of message bodies that the host holds. Bodies that
// came with a claim are added whatever the level, since they are here already;
// claims wait while the budget is spent. A body that is fetched on its own
// waits for room first.
type budget struct {
	mu    sync.Mutex
	limit int64
	held  int64
	freed chan struct{} // closed when bytes are given back; nil while nobody waits
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit}
}

// spent reports whether claims must wait, and what to wait for.
func (b *budget) spent() (bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held < b.limit {
		return false, nil
	}
	return true, b.waiting()
}

// resize changes the bound. What is held beyond it stays until it is released.
func (b *budget) resize(limit int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = limit
	b.wake()
}

// wake lets those that wait look again; b.mu is held.
func (b *budget) wake() {
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}

// waiting returns the channel that the next release closes; b.mu is held.
func (b *budget) waiting() <-chan struct{} {
	if b.freed == nil {
		b.freed = make(chan struct{})
	}
	return b.freed
}

func (b *budget) add(n int64) {
	b.mu.Lock()
	b.held += n
	b.mu.Unlock()
}

func (b *budget) release(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	b.held -= n
	b.wake()
	b.mu.Unlock()
}

// acquire waits until n bytes fit. A body larger than the whole budget is let
// through when nothing else is held: it must run some time.
func (b *budget) acquire(ctx context.Context, n int64) error {
	for {
		b.mu.Lock()
		if b.held+n <= b.limit || b.held == 0 {
			b.held += n
			b.mu.Unlock()
			return nil
		}
		freed := b.waiting()
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *budget) level() (held, limit int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held, b.limit
}
