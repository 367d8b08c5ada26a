package queues

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzText: whatever a handler says, its text is stored, bounded, and what was
// storable stays as it was.
func FuzzText(f *testing.F) {
	for _, seed := range []string{"", "plain", "a\x00b", "\xff\xfe", "ü\xc3", strings.Repeat("ü", 9), "\xed\xa0\x80", "\U0010ffff"} {
		f.Add(seed, 8)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(0, limit%(64<<10))
		got := Text(s, limit)
		require.True(t, utf8.ValidString(got))
		require.NotContains(t, got, "\x00")
		require.LessOrEqual(t, len(got), limit+len("…"))
		require.Equal(t, got, Text(got, len(got)), "what is safe stays as it is")
		if utf8.ValidString(s) && !strings.Contains(s, "\x00") {
			if len(s) <= limit {
				require.Equal(t, s, got)
			}
			require.True(t, strings.HasPrefix(s, strings.TrimSuffix(got, "…")))
		}
		entry := ErrorEntry{Type: s, Message: s, Stack: s}
		r := Record{}
		for range maxErrors + 2 {
			r = r.AddError(entry)
		}
		require.Len(t, r.Errors, maxErrors)
	})
}
