package processor

import (
	"context"
	"sync"
)

// laneLife is a lane's goroutines. It has two stages, since what was claimed is
// to be settled.
type laneLife struct {
	endClaiming, endSettling context.CancelFunc
	claiming, settling       sync.WaitGroup
	// fetches ends when no body is waited for any more.
	fetches    context.Context
	endFetches context.CancelFunc
}

// start makes the lane run.
func (l *lane) start() {
	claimCtx, endClaiming := context.WithCancel(context.Background())
	settleCtx, endSettling := context.WithCancel(context.Background())
	l.life.endClaiming, l.life.endSettling = endClaiming, endSettling
	l.progress.Store(l.opts.Now().UnixNano())
	l.life.claiming.Go(func() { l.run(claimCtx) })
	for range settlers {
		l.life.settling.Go(func() { l.settle(settleCtx) })
	}
}

// stopClaiming ends the first stage without waiting for it.
func (l *lane) stopClaiming() {
	if l.life.endClaiming != nil {
		l.life.endClaiming()
	}
}

// join ends both stages and waits for all goroutines of the lane.
func (l *lane) join() {
	if l.life.endClaiming == nil {
		return
	}
	l.hold(true)
	l.life.endClaiming()
	l.life.claiming.Wait()
	l.life.endSettling()
	l.life.settling.Wait()
	l.life.endFetches()
	l.work.Wait()
}

// hold keeps a lane from claiming, until it is stopped or let go on.
func (l *lane) hold(held bool) {
	l.mu.Lock()
	l.stopped = held
	l.mu.Unlock()
	poke(l.wake)
}

// stop ends claiming for good.
func (l *lane) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.dismissSuspects(func(e *entry) { l.decide.release(e, "the namespace starts nothing any more") })
	l.dismissPrefetched("the namespace starts nothing any more")
	poke(l.wake)
}

// close makes the lane report its end; it has been stopped. A claim that is under
// way has a deadline of its own, the caller's may end sooner.
func (l *lane) close() { l.work.Go(l.awaitClaim) }

// awaitClaim waits for a claim that was under way when the lane was stopped.
// From then on the lane is empty once its entries are settled.
func (l *lane) awaitClaim() {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closing {
		l.closing = true
		close(l.quiet)
	}
	l.checkEmpty()
}

// checkEmpty reports the end of the last entry; l.mu is held.
func (l *lane) checkEmpty() {
	if !l.closing || len(l.entries) > 0 {
		return
	}
	select {
	case <-l.empty:
	default:
		close(l.empty)
	}
}

// leave makes the lane claim no more, since its namespace is gone.
func (l *lane) leave() {
	l.mu.Lock()
	l.leaving = true
	l.mu.Unlock()
	l.stop()
	l.close()
}
