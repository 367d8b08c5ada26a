package scripts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// protocolTree is a copy of what the check of the generated code reads, as if it
// had been found sound.
func protocolTree(t *testing.T) (root string, files []string) {
	t.Helper()
	record, err := os.ReadFile("../plugin/protocol/generated.sha256")
	require.NoError(t, err)
	root = t.TempDir()
	copied := func(path string) {
		data, err := os.ReadFile(filepath.Join("..", path))
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, path), data, 0o755))
	}
	for line := range strings.Lines(string(record)) {
		_, name, found := strings.Cut(strings.TrimSpace(line), "  ")
		require.True(t, found, line)
		files = append(files, filepath.Join("plugin/protocol", name))
		copied(files[len(files)-1])
	}
	copied("plugin/protocol/generated.sha256")
	copied("scripts/generate-check.sh")
	return root, files
}

// sound tells whether the check of a tree needs none of the tools.
func sound(root string) bool {
	return exec.Command(filepath.Join(root, "scripts/generate-check.sh"), "--unchanged").Run() == nil
}

func TestGeneratedCodeIsCheckedAnewWhenAnythingIsAnother(t *testing.T) {
	t.Parallel()
	root, files := protocolTree(t)
	require.Subset(t, files, []string{
		"plugin/protocol/stephost/plugin/v1/plugin.proto", "plugin/protocol/stephost/plugin/v1/plugin.pb.go",
		"plugin/protocol/stephost/plugin/v1/plugin_grpc.pb.go", "plugin/node/plugin.proto",
		"plugin/python/stephost/protocol.binpb", "plugin/protocol/buf.yaml", "plugin/protocol/buf.gen.yaml", "tools/go.sum",
	})
	require.True(t, sound(root), "what is committed is what `make generate` has recorded")
	for _, file := range files {
		path := filepath.Join(root, file)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, append(data, '\n'), 0o600))
		require.False(t, sound(root), file)
		require.NoError(t, os.Remove(path))
		require.False(t, sound(root), file)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		require.True(t, sound(root), file)
	}
	added := filepath.Join(root, "plugin/protocol/more.pb.go")
	require.NoError(t, os.WriteFile(added, nil, 0o600))
	require.False(t, sound(root), "a file that no generator wrote")
}
