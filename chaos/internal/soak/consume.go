package soak

import (
	"context"
	"time"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/internal/wait"
)

const (
	// consumeEvery is the pace of the orchestrator.
	consumeEvery = 500 * time.Millisecond
	// consumeMost is how many results it takes at once.
	consumeMost = 500
	// consumeTimeout bounds what a database that is away can cost it.
	consumeTimeout = 10 * time.Second
)

// consume takes results and dead letters out of their queues until ctx ends. What
// fails is tried again: faults are about.
func (r *run) consume(ctx context.Context) {
	for wait.For(ctx, consumeEvery) == nil {
		for _, queue := range []string{ledger.ResultQueue, ledger.DeadQueue} {
			for {
				taken, err := r.take(ctx, queue)
				if err != nil || taken < consumeMost {
					break
				}
			}
		}
	}
}

func (r *run) take(ctx context.Context, queue string) (taken int, err error) {
	ctx, cancel := context.WithTimeout(ctx, consumeTimeout)
	defer cancel()
	err = r.DB.QueryRow(ctx, `SELECT count(*) FROM pgmq.pop($1, $2)`, queue, consumeMost).Scan(&taken)
	return taken, err
}
