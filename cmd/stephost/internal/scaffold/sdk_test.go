package scaffold

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPublished(t *testing.T) {
	t.Parallel()
	const pseudo = "v1.2.4-0.20260102030405-0123456789ab"
	for name, tc := range map[string]struct {
		main debug.Module
		want string
	}{
		"go install of a release": {debug.Module{Path: SDKModule, Version: "v1.2.3", Sum: "h1:x"}, "v1.2.3"},
		"go install of a commit":  {debug.Module{Path: SDKModule, Version: pseudo, Sum: "h1:x"}, pseudo},
		"checkout of a tag":       {debug.Module{Path: SDKModule, Version: "v1.2.3"}, "v1.2.3"},
		"checkout of a commit":    {debug.Module{Path: SDKModule, Version: pseudo}, ""},
		"changed checkout":        {debug.Module{Path: SDKModule, Version: "v1.2.3+dirty"}, ""},
		"no stamp":                {debug.Module{Path: SDKModule, Version: "(devel)"}, ""},
		"another program":         {debug.Module{Path: "example.com/x", Version: "v1.2.3"}, ""},
	} {
		require.Equal(t, tc.want, published(&debug.BuildInfo{Main: tc.main}), name)
	}
	require.Empty(t, published(nil))
}

func TestSourceTree(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "go.mod"), []byte("module "+SDKModule+"\n"), 0o600))
	found, err := sourceAround(filepath.Join(root, "cmd", "gone", "file.go"))
	require.NoError(t, err)
	require.Equal(t, SDK{Dir: root}, found)

	for _, file := range []string{
		"",                                 // the compiler recorded nothing
		SDKModule + "/cmd/x.go",            // -trimpath
		filepath.Join(t.TempDir(), "x.go"), // another machine
	} {
		_, err := sourceAround(file)
		require.ErrorContains(t, err, "name it with --sdk DIR", file)
	}
	found, err = FindSDK(root)
	require.NoError(t, err)
	require.Equal(t, SDK{Dir: root}, found)
	_, err = FindSDK(t.TempDir())
	require.ErrorContains(t, err, "is not the source tree of "+SDKModule)
}
