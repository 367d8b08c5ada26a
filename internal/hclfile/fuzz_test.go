package hclfile

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzParseAge: an age is never less than the part of it in days, and every
// duration is the age that it says.
func FuzzParseAge(f *testing.F) {
	for _, seed := range []string{"", "7d", "1d12h", "0d", "99999d", "100000d", "99999d2562047h", "1d-1h", "-1h", "2562047h47m", "1.5d", "d", "1dd", "1d1d", "١d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		age, err := ParseAge(text)
		if err != nil {
			require.Zero(t, age)
			return
		}
		if match := wholeDays.FindString(text); match != "" {
			days, err := ParseAge(match)
			require.NoError(t, err)
			require.GreaterOrEqual(t, age, days)
			require.Zero(t, days%(24*time.Hour))
		}
		again, err := ParseAge(age.String())
		require.NoError(t, err)
		require.Equal(t, age, again)
	})
}
