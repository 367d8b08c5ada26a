package supervisor_test

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/host/supervisor/shim"
)

// meddlerCommand makes the test binary a shim before which somebody meddles
// with the program: between the host's check and the execution.
const meddlerCommand = "meddle-and-shim"

// meddle replaces the program by another one, or writes into it and tells in
// the other file what came of it, or gives the shim a supplementary group.
func meddle(how, program, other string) {
	switch how {
	case "replace":
		if err := os.Rename(other, program); err != nil {
			panic(err)
		}
	case "groups":
		if err := syscall.Setgroups([]int{61361}); err != nil {
			panic(err)
		}
	case "overwrite":
		f, err := os.OpenFile(program, os.O_WRONLY|os.O_TRUNC|syscall.O_NONBLOCK, 0)
		text := "opened"
		if err != nil {
			text = err.Error()
		} else {
			_ = f.Close()
		}
		if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
			panic(err)
		}
	}
}

// meddling starts a plugin whose program is meddled with between its check and
// its execution.
func meddling(t *testing.T, s supervisor.Spec, how, other string) *bench {
	t.Helper()
	log := &logBuffer{}
	d := deps(t, log)
	d.Shim = append(slices.Clone(shimCommand(t)[:3]), meddlerCommand, how, s.Command, other, shim.Command)
	return startWith(t, s, d, log)
}

// programs are the plugin as a binary and as a script.
func programs(t *testing.T) map[string]string {
	script := filepath.Join(t.TempDir(), "plugin")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\nexec "+testBinary(t)+"\n"), 0o755))
	return map[string]string{"binary": reachable(t), "script": script}
}

// evil is a program that would be noticed if it ran.
func evil(t *testing.T, dir string) string {
	path := filepath.Join(dir, "evil")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\necho evil >&2\nexit 7\n"), 0o755))
	return path
}

func TestReplacedProgramDoesNotRun(t *testing.T) {
	t.Parallel()
	for name, program := range programs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, dir := range []string{"", "/"} {
				// Where nothing is set up, and where something is.
				s := spec(t, "")
				s.Dir = dir
				copied := filepath.Join(t.TempDir(), "plugin")
				require.NoError(t, os.Link(program, copied))
				s.Command, s.SHA256 = copied, hashOf(t, copied)
				b := meddling(t, s, "replace", evil(t, filepath.Dir(copied)))
				b.awaitReady(t)
				b.echoes(t)
				require.NotEqual(t, s.SHA256, hashOf(t, copied), "it was replaced")
				stop(t, b.Plugin)
			}
		})
	}
}

// TestReplacedProgramRunsWithoutAPin shows that the meddler is quick enough.
func TestReplacedProgramRunsWithoutAPin(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Command = filepath.Join(t.TempDir(), "plugin")
	require.NoError(t, os.Symlink(testBinary(t), s.Command))
	b := meddling(t, s, "replace", evil(t, filepath.Dir(s.Command)))
	require.Contains(t, b.awaitFailure(t), "exit status 7")
}

func TestCheckedProgramCannotBeOverwritten(t *testing.T) {
	t.Parallel()
	for name, program := range programs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, "")
			s.Command, s.SHA256 = program, hashOf(t, program)
			told := filepath.Join(t.TempDir(), "told")
			b := meddling(t, s, "overwrite", told)
			b.awaitReady(t)
			b.echoes(t)
			text, err := os.ReadFile(told)
			require.NoError(t, err)
			require.Contains(t, string(text), "resource temporarily unavailable")

			if name == "script" {
				// The lease does not outlast the start.
				f, err := os.OpenFile(program, os.O_WRONLY|syscall.O_NONBLOCK, 0)
				require.NoError(t, err)
				require.NoError(t, f.Close())
			}
		})
	}
}

func TestProgramThatIsBeingWrittenIsRefused(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Command = programs(t)["script"]
	s.SHA256 = hashOf(t, s.Command)
	writer, err := os.OpenFile(s.Command, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer func() { _ = writer.Close() }()
	require.Contains(t, start(t, s).awaitFailure(t), "somebody has it open for writing")
}
