package world

import (
	"context"
	"fmt"
	"time"
)

// poll asks until the answer is yes or an error. It gives up when ctx ends, and
// then says what it waited for.
func poll(ctx context.Context, every time.Duration, what string, ask func() (bool, error)) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		yes, err := ask()
		if err != nil || yes {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// Until asks every 20 ms until the answer is yes or an error, for as long as the
// form has patience.
func (w *World) Until(ctx context.Context, what string, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, w.Patience)
	defer cancel()
	return poll(ctx, 20*time.Millisecond, what, ask)
}
