package procmem

import (
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemoryOfAProcess(t *testing.T) {
	t.Parallel()
	before, err := Of(os.Getpid())
	require.NoError(t, err)
	require.Positive(t, before.Resident)
	require.GreaterOrEqual(t, before.Peak, before.Resident)

	const size = 64 << 20
	held := make([]byte, size)
	for i := 0; i < size; i += os.Getpagesize() {
		held[i] = 1
	}
	after, err := Of(os.Getpid())
	require.NoError(t, err)
	require.GreaterOrEqual(t, after.Peak, int64(size))
	require.Equal(t, byte(1), held[0])

	_, err = Of(math.MaxInt32)
	require.ErrorIs(t, err, os.ErrNotExist)
}
