package schema

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestServersBefore14AreRefused(t *testing.T) {
	t.Parallel()
	require.NoError(t, checkVersion(140000, "14.0"))
	err := checkVersion(130022, "13.22")
	var old *ServerTooOldError
	require.ErrorAs(t, err, &old)
	require.ErrorContains(t, err, "13.22 is too old")
}
