package devbuild_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stephost/stephost/internal/devbuild"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; nothing depends on its length.
const patience = time.Minute

// bundle is a builder of one package, in a module that it has for itself.
type bundle struct {
	*devbuild.Builder
	t      *testing.T
	root   string
	output string

	mu    sync.Mutex
	shown strings.Builder
	swaps int
	// refusal is what the host says to a swap.
	refusal error
	// attached makes the host put a swap off.
	attached bool
}

func setup(t *testing.T, files map[string]string) *bundle {
	t.Helper()
	root := t.TempDir()
	b := &bundle{t: t, root: root, output: filepath.Join(root, "state", "plugin")}
	for name, text := range files {
		b.save(name, text)
	}
	b.Builder = devbuild.New(devbuild.Options{
		Show: func(text string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.shown.WriteString(text)
		},
		Swap: func(context.Context, string) (bool, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.swaps++
			return !b.attached, b.refusal
		},
	})
	return b
}

func (b *bundle) packages() []devbuild.Package {
	return []devbuild.Package{{Plugin: "p", Dir: filepath.Join(b.root, "cmd"), Output: b.output}}
}

func (b *bundle) save(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.root, name)
	require.NoError(b.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(b.t, os.WriteFile(path, []byte(text), 0o600))
}

// run watches until the end of the test.
func (b *bundle) run() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	b.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// told waits until a text has been shown n times.
func (b *bundle) told(n int, text string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return strings.Count(b.shown.String(), text) == n
	}, patience, 5*time.Millisecond, "%q was not shown %d times", text, n)
}

func (b *bundle) says() string {
	b.t.Helper()
	out, err := exec.Command(b.output).Output()
	require.NoError(b.t, err)
	return string(out)
}

const (
	goMod = "module example.com/m\n\ngo 1.26\n"
	main  = "package main\n\nimport \"example.com/m/lib\"\n\nfunc main() { print_(lib.Word()) }\n"
	// print_ is in a file of its own, so that there are two.
	printer = "package main\n\nimport \"os\"\n\nfunc print_(s string) { os.Stdout.WriteString(s) }\n"
)

func lib(word string) string {
	return "package lib\n\nfunc Word() string { return \"" + word + "\" }\n"
}

func TestPackageIsBuiltAgainWhenAnythingInItsModuleIsSaved(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"go.mod": goMod, "cmd/main.go": main, "cmd/print.go": printer, "lib/lib.go": lib("one")})
	require.NoError(t, b.Build(t.Context(), b.packages()))
	b.told(1, "plugin p is built, in ")
	require.Empty(t, b.Unbuilt("p"))
	require.Equal(t, "one", b.says())

	b.run()
	b.save("lib/lib.go", lib("two"))
	b.told(1, "plugin p is built and swapped, in ")
	require.Equal(t, "two", b.says())

	b.save("cmd/print.go", printer+"\nvar _ = oops\n")
	b.told(1, "plugin p does not build, the version that runs serves on")
	b.told(1, "./print.go:7:9: undefined: oops")
	require.Equal(t, "two", b.says())

	b.save("cmd/print.go", printer+"\n// A comment.\n")
	b.told(1, "plugin p is built, and is what runs already")
	b.save("cmd/extra.go", "package main\n\nfunc init() { print_(\"and \") }\n")
	b.told(2, "plugin p is built and swapped, in ")
	require.Equal(t, "and two", b.says())
	require.Equal(t, 2, b.swaps)

	b.mu.Lock()
	b.attached = true
	b.mu.Unlock()
	b.save("lib/lib.go", lib("three"))
	b.told(1, "plugin p is built, and takes over when the attached process ends")
	require.Equal(t, "and three", b.says())
}

func TestPackageThatDoesNotBuildAtFirst(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"go.mod": "nonsense\n", "cmd/main.go": main, "cmd/print.go": printer, "lib/lib.go": lib("one")})
	b.save("state/plugin", "what an earlier run has left")
	require.NoError(t, b.Build(t.Context(), b.packages()))
	b.told(1, "plugin p does not build, its namespaces wait; save a file to try again\n")
	b.told(1, "go.mod:1: unknown directive: nonsense")
	require.Contains(t, b.Unbuilt("p"), "its package does not build: "+filepath.Join(b.root, "cmd"))
	require.NoFileExists(t, b.output)

	b.run()
	b.save("go.mod", goMod)
	b.told(1, "plugin p is built and swapped, in ")
	require.Empty(t, b.Unbuilt("p"))
	require.Equal(t, "one", b.says())
}

func TestProgramThatDoesNotComeUpIsTakenBack(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"go.mod": goMod, "cmd/main.go": main, "cmd/print.go": printer, "lib/lib.go": lib("one")})
	require.NoError(t, b.Build(t.Context(), b.packages()))
	b.refusal = errors.New("bad luck")
	b.run()
	b.save("lib/lib.go", lib("two"))
	b.told(1, "plugin p is built and cannot take over, the version that runs serves on\nbad luck\n")
	require.Eventually(t, func() bool { return b.says() == "one" }, patience, 5*time.Millisecond)
	left, err := filepath.Glob(b.output + "*")
	require.NoError(t, err)
	require.Equal(t, []string{b.output}, left)
}

func TestLibraryIsNoPlugin(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"go.mod": goMod, "cmd/lib.go": "package lib\n"})
	require.NoError(t, b.Build(t.Context(), b.packages()))
	b.told(1, filepath.Join(b.root, "cmd")+" is package lib, and a plugin is package main")
}

func TestPackagesChangeWithTheConfiguration(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"go.mod": goMod, "cmd/main.go": main, "cmd/print.go": printer, "lib/lib.go": lib("one"),
		"other/main.go": "package main\n\nfunc main() { oops() }\n",
	})
	require.NoError(t, b.Build(t.Context(), b.packages()))
	b.run()
	other := devbuild.Package{Plugin: "o", Dir: filepath.Join(b.root, "other"), Output: b.output + "-o"}
	var failed *devbuild.BuildError
	require.ErrorAs(t, b.Change(t.Context(), append(b.packages(), other)), &failed)
	require.Equal(t, "o", failed.Plugin)
	require.ErrorContains(t, failed, "./main.go:3:15: undefined: oops")

	b.save("other/main.go", "package main\n\nfunc main() {}\n")
	require.NoError(t, b.Change(t.Context(), append(b.packages(), other)))
	b.save("other/main.go", "package main\n\nfunc main() { println() }\n")
	b.told(1, "plugin o is built and swapped, in ")
	require.NoError(t, b.Change(t.Context(), []devbuild.Package{other}))
	b.save("lib/lib.go", lib("two"))
	b.save("other/main.go", "package main\n\nfunc main() { println(1) }\n")
	b.told(2, "plugin o is built and swapped, in ")
	require.Equal(t, "one", b.says(), "nobody builds it any more")
}
