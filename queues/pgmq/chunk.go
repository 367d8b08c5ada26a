package pgmq

import (
	"context"
	"strings"
	"time"
)

const (
	// One statement holds two locks for each queue that it looks at until it
	// ends; a few dozen stay within the server's lock table.
	chunkSize = 64
	// How long to wait for a locked table, and how long while finding out which
	// one it is.
	chunkLockTimeout   = 200 * time.Millisecond
	isolateLockTimeout = 20 * time.Millisecond
)

// inChunk prepares the transaction of a chunk. Its parameter is the lock timeout. The
// chunk's plan is an index scan for each queue, whatever its parameters are; without
// being told, the server plans all of them anew for every run.
const inChunk = `SELECT set_config('lock_timeout', $1::text, true), set_config('plan_cache_mode', 'force_generic_plan', true)`

// inChunks asks about many queues in few statements. A chunk in which one queue is
// in the way, locked by someone or gone, is halved until that one is alone; then
// fault is told. The error is for a database that does not answer.
func inChunks[Q any](ctx context.Context, all []Q, ask func(ctx context.Context, some []Q, lockTimeout time.Duration) error, fault func(Q, error)) error {
	for len(all) > 0 {
		n := min(len(all), chunkSize)
		if err := inHalves(ctx, all[:n], chunkLockTimeout, ask, fault); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

func inHalves[Q any](ctx context.Context, some []Q, lockTimeout time.Duration, ask func(context.Context, []Q, time.Duration) error, fault func(Q, error)) error {
	err := ask(ctx, some, lockTimeout)
	switch {
	case err == nil:
		return nil
	case sqlState(err) == "" || ctx.Err() != nil || strings.HasPrefix(sqlState(err), "57P") || strings.HasPrefix(sqlState(err), "08"):
		return err
	case len(some) > 1:
		half := len(some) / 2
		if err := inHalves(ctx, some[:half], isolateLockTimeout, ask, fault); err != nil {
			return err
		}
		return inHalves(ctx, some[half:], isolateLockTimeout, ask, fault)
	}
	fault(some[0], err)
	return nil
}
