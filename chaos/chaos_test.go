package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/chaos/internal/fault"
	"github.com/stephost/stephost/chaos/internal/trial"
	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
)

func TestMain(m *testing.M) { devpgtest.Main(m) }

// TestFaultsThatMatterMost injects what happens in every production: a plugin
// crashes, a host crashes, a host is deployed, the database fails over, the
// network is gone. `make chaos` injects all that there is.
func TestFaultsThatMatterMost(t *testing.T) {
	t.Parallel()
	faults, err := fault.Named("kill-plugin", "kill-host", "term-host", "postgres-crash", "network-cut")
	require.NoError(t, err)
	programs := t.TempDir()
	opts := world.Defaults(world.Short())
	opts.Stephost = build(t, programs, "../cmd/stephost")
	opts.Handler = build(t, programs, "./handler")
	for _, f := range faults {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			opts := opts
			opts.Dir = t.TempDir()
			row := trial.Run(t.Context(), f, opts)
			// On a busy machine what was in flight may have ended just before the fault.
			for again := 0; again < 5 && missed(row.Problems); again++ {
				opts.Dir = t.TempDir()
				row = trial.Run(t.Context(), f, opts)
			}
			if !row.Passed() {
				showLogs(t, opts.Dir)
			}
			require.Empty(t, row.Problems)
			require.Empty(t, row.Skipped)
			t.Logf("%d messages, %d executed again, recovery %s, worst pickup %s: %s", row.Messages, row.ExecutedAgain, row.Recovery, row.Pickup, row.Evidence)
		})
	}
}

// missed tells that a fault hit nothing, and that nothing else is wrong.
func missed(problems []string) bool {
	return len(problems) == 1 && strings.HasSuffix(problems[0], "the fault has missed")
}

func build(t *testing.T, dir, source string) string {
	t.Helper()
	program := filepath.Join(dir, filepath.Base(source))
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, source).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

// showLogs shows how each log ends.
func showLogs(t *testing.T, dir string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	require.NoError(t, err)
	for _, path := range logs {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		lines := strings.SplitAfter(string(text), "\n")
		t.Logf("%s:\n%s", filepath.Base(path), strings.Join(lines[max(0, len(lines)-100):], ""))
	}
}

func TestASoakThatIsTooShortIsRefused(t *testing.T) {
	t.Parallel()
	cmd := soakCommand()
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	cmd.SetArgs([]string{"--duration", "5s"})
	require.ErrorContains(t, cmd.ExecuteContext(t.Context()), "a soak of 5s is too short")
}

func TestEveryFaultHasANameOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range fault.All() {
		require.Regexp(t, `^[a-z0-9]+(-[a-z0-9]+)*$`, f.Name)
		require.NotEmpty(t, f.About)
		require.NotNil(t, f.Inject)
		require.False(t, seen[f.Name], f.Name)
		seen[f.Name] = true
	}
	_, err := fault.Named("no-such-fault")
	require.ErrorContains(t, err, "--list")
}
