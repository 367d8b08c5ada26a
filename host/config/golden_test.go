package config_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/config"
)

var update = flag.Bool("update", false, "rewrite the expected diagnostics")

const hidden = "hunter2"

func testOptions() []config.Option {
	return []config.Option{
		config.WithEnv(func(name string) (string, bool) { return hidden, name == "SECRET" }),
		config.WithHostID(func() (string, error) { return "test-host", nil }),
	}
}

func printed(t *testing.T, path string, src []byte) string {
	t.Helper()
	cfg, diags := config.Parse(path, src, testOptions()...)
	var out bytes.Buffer
	require.NoError(t, config.Print(&out, diags, cfg.Files))
	root, err := filepath.Abs("testdata")
	require.NoError(t, err)
	return strings.ReplaceAll(out.String(), root, "ROOT")
}

func TestDiagnostics(t *testing.T) {
	t.Parallel()
	inputs, err := filepath.Glob("testdata/diagnostics/*.hcl")
	require.NoError(t, err)
	require.Greater(t, len(inputs), 40)
	for _, input := range inputs {
		t.Run(filepath.Base(input), func(t *testing.T) {
			t.Parallel()
			src, err := os.ReadFile(input)
			require.NoError(t, err)
			got := printed(t, input, src)
			require.NotContains(t, got, hidden)
			golden := strings.TrimSuffix(input, ".hcl") + ".txt"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}

func TestMissingFileIsOneError(t *testing.T) {
	t.Parallel()
	cfg, diags := config.Load(filepath.Join(t.TempDir(), "none.hcl"))
	require.NotNil(t, cfg)
	require.Len(t, diags, 1)
	require.Contains(t, diags[0].Detail, "There is no file")
}

func TestTheProjectsOwnFileLoads(t *testing.T) {
	t.Parallel()
	cfg, diags := config.Load("../../config.hcl", config.WithFileChecks(false))
	require.Empty(t, diags)
	require.Len(t, cfg.Namespaces, 4)
	require.True(t, filepath.IsAbs(cfg.Plugins[0].Command))
}
