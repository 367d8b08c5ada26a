// Package wait lets time pass for as long as a context lives.
package wait

import (
	"context"
	"time"
)

// For returns nil after d, at once when d is not positive, or the context's cause as
// soon as that ends; a context that has ended already always wins.
func For(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
