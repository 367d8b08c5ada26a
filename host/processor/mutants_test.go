package processor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// mutant is one way to break the code that must not go unnoticed. It replaces a
// piece of a file, which must be there exactly once: where the code changes, the
// mutant has to follow.
type mutant struct {
	name     string
	file     string // from the module's root
	old, new string
	// often: also run by plain tests, not only by `make mutants`.
	often bool
	// layout on which it shows; stephost's own unless it says otherwise.
	layout pgmqtest.Layout
}

// allMutants asks for all of them: `make mutants` sets it.
const allMutants = "STEPHOST_MUTANTS"

// TestMutantsApply keeps the list true.
func TestMutantsApply(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, m := range mutants() {
		require.False(t, names[m.name], m.name)
		names[m.name] = true
		_, err := m.apply()
		require.NoError(t, err, m.name)
	}
}

// TestMutants proves that TestModel would notice.
func TestMutants(t *testing.T) {
	t.Parallel()
	all := os.Getenv(allMutants) != ""
	if os.Getenv(allMutants) == "all" {
		t.Run("none", passUnchanged)
	}
	for _, m := range mutants() {
		if !all && !m.often {
			continue
		}
		if only := os.Getenv(allMutants); all && only != "all" && !strings.Contains(m.name, only) {
			continue
		}
		t.Run(m.name, func(t *testing.T) { m.catch(t) })
	}
}

const moduleRoot = "../.."

// apply returns the file with the mutation.
func (m mutant) apply() ([]byte, error) {
	source, err := os.ReadFile(filepath.Join(moduleRoot, m.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(source, []byte(m.old)); n != 1 {
		return nil, fmt.Errorf("%s has the piece %d times, not once: %q", m.file, n, m.old)
	}
	return bytes.Replace(source, []byte(m.old), []byte(m.new), 1), nil
}

// build makes the test program with the mutation in place of the file.
func (m mutant) build(t *testing.T) (program string) {
	dir := t.TempDir()
	source, err := m.apply()
	require.NoError(t, err)
	changed, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	original, err := filepath.Abs(filepath.Join(moduleRoot, m.file))
	require.NoError(t, err)
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(changed, source, 0o600))
	require.NoError(t, os.WriteFile(overlay, list, 0o600))
	program = filepath.Join(dir, "mutant")
	out, err := m.command(t, "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", overlay, "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "the mutant does not compile:\n%s", out)
	return program
}

func (m mutant) command(t *testing.T, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, name, args...)
}

// caught is what rapid says about a property that does not hold.
var caught = regexp.MustCompile(`\[rapid\] (failed|panic) after (\d+) tests`)

// passUnchanged shows that it is the mutations that are caught: the same cases
// pass where nothing was changed.
func passUnchanged(t *testing.T) {
	for _, layout := range []pgmqtest.Layout{modelOwn, pgmqtest.V1_4} {
		none := mutant{name: "none", file: "host/processor/decide.go", old: "package processor", new: "package processor", layout: layout}
		out, err := none.run(t)
		require.NoError(t, err, "%s", out[max(0, len(out)-2000):])
	}
}

// catch expects the model to notice the mutant.
func (m mutant) catch(t *testing.T) {
	out, err := m.run(t)
	found := caught.FindSubmatch(out)
	if err == nil || found == nil {
		t.Fatalf("%s in %s goes unnoticed (%v):\n%s", m.name, m.file, err, out[max(0, len(out)-2000):])
	}
	t.Logf("caught by case %s", found[2])
}

// run runs the model's cases against the mutant.
func (m mutant) run(t *testing.T) ([]byte, error) {
	program := m.build(t)
	layout := m.layout
	if layout == "" {
		layout = modelOwn
	}
	databases, err := json.Marshal(map[pgmqtest.Layout]string{layout: freshModelDatabase(t, layout)})
	require.NoError(t, err)
	run := m.command(t, program, "-test.run=^TestModel$/^"+regexp.QuoteMeta(string(layout))+"$",
		"-rapid.checks=400", "-rapid.seed=1", "-rapid.shrinktime=1ms", "-rapid.nofailfile")
	run.Env = append(os.Environ(), mutantDatabases+"="+string(databases))
	return run.CombinedOutput()
}
