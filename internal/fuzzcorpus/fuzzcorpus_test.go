package fuzzcorpus

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"go test fuzz v1\n[]byte(\"a\\x00\\\")\")\n", "go test fuzz v1\nstring(\"a\\x00\\\")\")"} {
		got, err := parse(text)
		require.NoError(t, err)
		require.Equal(t, "a\x00\")", got)
	}
	for _, text := range []string{"", "go test fuzz v1\n", "go test fuzz v1\nint(1)", "go test fuzz v1\nstring(\"\")\nint(1)", "x\nstring(\"\")", "go test fuzz v1\nstring(a)"} {
		_, err := parse(text)
		require.Error(t, err, text)
	}
}
