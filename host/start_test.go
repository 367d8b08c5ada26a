package host_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStopWhileStartingIsClean(t *testing.T) {
	t.Parallel()
	dsn := newDatabase(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// How far a start gets when it is told to stop is up to the scheduler.
	for range 10 {
		require.NoError(t, build(t, dsn, settings{}).Run(ctx))
	}
}
