package pgmq

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/stephost/stephost/internal/wait"
)

const (
	transientTries = 6
	transientPause = 5 * time.Millisecond
	// Whoever waited for a lock in vain has held a connection long enough.
	lockTries = 2
)

// retryTransient repeats op after a deadlock, a serialisation failure or a lock
// timeout: the server has rolled it back and says to try again.
func retryTransient(ctx context.Context, op func() error) error {
	for try := 1; ; try++ {
		err := op()
		if err == nil || try == transientTries || classify(err) != faultTransient {
			return err
		}
		if try == lockTries && sqlState(err) == "55P03" {
			return err
		}
		pause := transientPause << try
		if wait.For(ctx, pause/2+rand.N(pause)) != nil {
			return err
		}
	}
}
