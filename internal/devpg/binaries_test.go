package devpg_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stephost/stephost/internal/devpg"
	"github.com/stretchr/testify/require"
)

// fakeBinaries makes a directory whose postgres only knows its version.
func fakeBinaries(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{
		"postgres": "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n",
		"initdb":   "#!/bin/sh\nexit 1\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
	}
	return dir
}

func TestFindBinariesPrefersTheNewest(t *testing.T) {
	dir := fakeBinaries(t, "99.3 (Homebrew)")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	found, err := devpg.FindBinaries()
	require.NoError(t, err)
	require.Equal(t, dir, found)

	old := fakeBinaries(t, "9.6")
	t.Setenv("PATH", old+":"+os.Getenv("PATH"))
	found, err = devpg.FindBinaries()
	require.NoError(t, err)
	require.NotEqual(t, old, found, "being first in PATH is not enough")
}

func TestFindBinariesObeysTheVariable(t *testing.T) {
	dir := fakeBinaries(t, "15.1")
	t.Setenv(devpg.BinariesVariable, dir)
	found, err := devpg.FindBinaries()
	require.NoError(t, err)
	require.Equal(t, dir, found)
}

func TestMissingBinariesSayWhatToDo(t *testing.T) {
	empty := t.TempDir()
	t.Setenv(devpg.BinariesVariable, empty)
	_, err := devpg.FindBinaries()
	var missing *devpg.NotFoundError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, []string{empty}, missing.Searched)
	require.ErrorContains(t, err, "install")
	require.ErrorContains(t, err, "DATABASE_URL")
	require.NotContains(t, err.Error(), "\n")
}

func TestDataOfAnotherVersionAsksForItsBinaries(t *testing.T) {
	opts := persistent(t)
	cluster := start(t, opts)
	stop(t, cluster)
	path := filepath.Join(cluster.Dir(), "data", "PG_VERSION")
	version, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte("98\n"), 0o600))
	defer func() { require.NoError(t, os.WriteFile(path, version, 0o600)) }()

	_, err = devpg.Start(t.Context(), opts)
	var missing *devpg.NotFoundError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, 98, missing.Major)
}
