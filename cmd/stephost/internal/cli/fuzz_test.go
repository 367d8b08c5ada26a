package cli

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzArguments: what is typed for a time, a rate or ids is taken as it reads,
// or refused.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{
		"", "90m", "7d", "-1h", "99999d", "1e3d", "2026-01-31", "2026-01-31 17:30", "2026-01-31T17:30:00Z", "0000-00-00", "100/s", "0.5/m", "1/h", "1/0",
		"NaN/s", "Inf", "-1/s", "1e300/s", "7", "7-9", "9-7", "0-1", "-", "7-", "9223372036854775807", "9223372036854775808", "1--2", "+1", "1_000",
	} {
		f.Add(seed)
	}
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		if at, err := parseMoment(text, now); err == nil && text != "" {
			require.False(t, at.IsZero(), "a time that was given is no absent one")
			again, err := parseMoment(at.Format(time.RFC3339Nano), now)
			require.NoError(t, err)
			require.True(t, at.Equal(again))
		}
		if limit, err := parseRate(text); err == nil {
			require.False(t, math.IsNaN(float64(limit)))
			require.GreaterOrEqual(t, limit, minRate)
			require.LessOrEqual(t, limit, maxRate)
		}
		if ids, ok := parseIDs(text); ok {
			require.Positive(t, ids.First)
			require.GreaterOrEqual(t, ids.Last, ids.First)
			again, ok := parseIDs(fmt.Sprintf("%d-%d", ids.First, ids.Last))
			require.True(t, ok)
			require.Equal(t, ids, again)
		}
	})
}
