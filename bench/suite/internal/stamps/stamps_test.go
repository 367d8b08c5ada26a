package stamps

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFirstMarkIsSeenByWhoeverHasTheFile(t *testing.T) {
	t.Parallel()
	ours, path, err := Create(t.TempDir(), 3)
	require.NoError(t, err)
	defer func() { require.NoError(t, ours.Close()) }()
	theirs, err := Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, theirs.Close()) }()

	now := Now()
	require.True(t, theirs.Mark(2, now))
	require.False(t, theirs.Mark(2, now+1), "a second delivery moved the time")
	require.False(t, theirs.Mark(3, now), "out of range")
	at, ok := ours.Wait(2, time.Minute)
	require.True(t, ok)
	require.Equal(t, now, at)
	_, ok = ours.Wait(0, 0)
	require.False(t, ok)
}
