package scaffold_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/cmd/stephost/internal/scaffold"
)

func TestTidySaysWhatFailed(t *testing.T) {
	p, err := scaffold.New(filepath.Join(t.TempDir(), "greeter"), "", "", scaffold.SDK{Version: "v1.987.6"})
	require.NoError(t, err)
	require.NoError(t, p.Create())

	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "")
	require.ErrorContains(t, p.Tidy(t.Context()), "go mod tidy: exit status 1: github.com/stephost/stephost/plugin/sdk")

	t.Setenv("PATH", "")
	require.ErrorIs(t, p.Tidy(t.Context()), scaffold.ErrNoGo)
}
