package filewatch_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/filewatch"
)

func TestDebounceWaitsUntilNothingChangesAnyMore(t *testing.T) {
	t.Parallel()
	d := filewatch.Debounce{Quiet: time.Second}
	now := time.Now()
	look := func(state string, after time.Duration) bool {
		now = now.Add(after)
		return d.Look(state, now)
	}
	require.False(t, look("a", 0), "the first state is no change")
	require.False(t, look("a", time.Hour))
	require.False(t, look("b", 0))
	require.False(t, look("c", d.Quiet), "it is being written")
	require.False(t, look("c", d.Quiet-1))
	require.True(t, look("c", 1))
	require.False(t, look("c", time.Hour), "once for each change")
	require.False(t, look("d", 0))
	require.False(t, look("c", time.Hour), "it is as it was")
	require.False(t, look("c", time.Hour))

	d.Again()
	require.True(t, look("c", time.Hour))
	require.False(t, look("c", time.Hour))
}

func TestStateChangesWithEveryWayToReplaceAFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "bin")
	path := filepath.Join(dir, "plugin")
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	seen := map[string]bool{}
	differs := func(how string) {
		t.Helper()
		state := filewatch.State(path)
		require.False(t, seen[state], how)
		seen[state] = true
	}
	differs("absent")
	write("plugin", "one")
	differs("made")
	write("plugin", "three")
	differs("rewritten")
	require.NoError(t, os.Chmod(path, 0o700))
	differs("made executable")
	write("new", "three")
	require.NoError(t, os.Rename(filepath.Join(dir, "new"), path))
	differs("renamed over")
	require.NoError(t, os.RemoveAll(dir))
	require.Equal(t, "absent", filewatch.State(path))
	write("plugin", "four")
	differs("made anew with its directory")
	state := filewatch.State(path)
	require.Equal(t, state, filewatch.State(path))
}

func TestSumIsThatOfTheContent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	sum, err := filewatch.Sum(path)
	require.NoError(t, err)
	require.Equal(t, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", sum)
	_, err = filewatch.Sum(path + ".missing")
	require.ErrorIs(t, err, os.ErrNotExist)
}
