package config_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/config"
)

func TestPackagesAreForWhoBuildsThem(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs(".")
	require.NoError(t, err)
	read := func(more string) (*config.Config, string) {
		text := "plugin \"p\" {\n  command = \"testdata/gopackage\"\n" + more + "}\n"
		cfg, diags := config.Parse(filepath.Join(dir, "test.hcl"), []byte(text), append(testOptions(), config.WithPackages())...)
		if len(diags) == 0 {
			return cfg, ""
		}
		return cfg, diags.Error()
	}
	cfg, problem := read("")
	require.Empty(t, problem)
	require.True(t, cfg.Plugins[0].Package)
	require.Equal(t, filepath.Join(dir, "testdata/gopackage"), cfg.Plugins[0].Command)

	_, problem = read("  sha256 = \"" + hash + "\"\n")
	require.Contains(t, problem, "test.hcl:3,12")
	require.Contains(t, problem, "Pinned package")
}

const hash = "abababababababababababababababababababababababababababababababab"
