package pickup

import (
	"context"
	"math/rand/v2"
	"time"
)

// patience bounds the wait for one message.
const patience = 30 * time.Second

// pause waits for 10 to 310 ms.
func pause(ctx context.Context) error {
	timer := time.NewTimer(10*time.Millisecond + rand.N(300*time.Millisecond))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
