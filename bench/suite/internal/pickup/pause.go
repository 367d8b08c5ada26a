package pickup

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/stephost/stephost/internal/wait"
)

// patience bounds the wait for one message.
const patience = 30 * time.Second

// pause waits for 10 to 310 ms.
func pause(ctx context.Context) error {
	return wait.For(ctx, 10*time.Millisecond+rand.N(300*time.Millisecond))
}
