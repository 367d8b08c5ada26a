package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// TestFailedStartsSayWhy has each way in which a start fails.
func TestFailedStartsSayWhy(t *testing.T) {
	t.Parallel()
	file := func(t *testing.T, content string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "plugin")
		require.NoError(t, os.WriteFile(path, []byte(content), mode))
		return path
	}
	command := func(make func(t *testing.T) string) func(*testing.T, *supervisor.Spec) {
		return func(t *testing.T, s *supervisor.Spec) { s.Command = make(t) }
	}
	quick := func(_ *testing.T, s *supervisor.Spec) {
		s.Timeouts.Start, s.Timeouts.Configure = 3*time.Second, 100*time.Millisecond
	}
	for name, c := range map[string]struct {
		mode   string
		change func(*testing.T, *supervisor.Spec)
		want   []string
	}{
		"missing":         {change: command(func(t *testing.T) string { return filepath.Join(t.TempDir(), "none") }), want: []string{"there is no such file"}},
		"directory":       {change: command(func(t *testing.T) string { return t.TempDir() }), want: []string{"it is a directory"}},
		"not executable":  {change: command(func(t *testing.T) string { return file(t, "x", 0o644) }), want: []string{"it is not executable"}},
		"not a program":   {change: command(func(t *testing.T) string { return file(t, "x", 0o755) }), want: []string{"it is not a program for linux/", "#!"}},
		"no interpreter":  {change: command(func(t *testing.T) string { return file(t, "#!/none\n", 0o755) }), want: []string{"interpreter or loader is missing"}},
		"wrong arch":      {change: command(foreignProgram), want: []string{"it is not a program for linux/", "but for S390"}},
		"not a plugin":    {change: command(func(t *testing.T) string { return lookPath(t, "id") }), want: []string{`printed "uid=`, "it is not a plugin"}},
		"says nothing":    {change: command(func(t *testing.T) string { return lookPath(t, "true") }), want: []string{"before the handshake", "exit status 0"}},
		"wrong hash":      {change: func(_ *testing.T, s *supervisor.Spec) { s.SHA256 = strings.Repeat("0", 64) }, want: []string{"its sha256 is", "is pinned"}},
		"exits":           {mode: "exit", want: []string{"before the handshake", "exit status 3", "cannot find my licence"}},
		"panics":          {mode: "panic", want: []string{"exit status 2", "panic: bad init", "runTestPlugin"}},
		"prints":          {mode: "stdout", want: []string{`printed "hello from an init function" on stdout`}},
		"silent":          {mode: "silent", change: func(_ *testing.T, s *supervisor.Spec) { s.Timeouts.Start = 100 * time.Millisecond }, want: []string{"no handshake line", "within 100ms"}},
		"no TLS":          {mode: "plain", want: []string{`tls = "off"`}},
		"only TLS":        {mode: "insists-on-tls", change: func(_ *testing.T, s *supervisor.Spec) { s.DisableTLS = true }, want: []string{"although TLS is off"}},
		"version":         {mode: "wrong-version", want: []string{"99"}},
		"hangs describe":  {mode: "hang-describe", change: quick, want: []string{"describe: no answer within 3s"}},
		"exits describe":  {mode: "exit-describe", want: []string{"describe: ", "exit status 4"}},
		"hangs configure": {mode: "hang-configure", change: quick, want: []string{"configure: no answer within 100ms"}},
		"refuses config":  {mode: "refuse", want: []string{"configure: no such currency XYZ"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, c.mode)
			if c.change != nil {
				c.change(t, &s)
			}
			b := start(t, s)
			got := b.awaitFailure(t)
			require.Contains(t, got, `start plugin "orders": `)
			for _, want := range c.want {
				require.Contains(t, got, want)
			}
			require.False(t, b.State().Ready)
			require.NotEmpty(t, b.State().Reason)
		})
	}
}

// foreignProgram is an ELF header for a machine that this is not.
func foreignProgram(t *testing.T) string {
	elf, err := os.ReadFile(testBinary(t))
	require.NoError(t, err)
	elf = elf[:64]
	clear(elf[40:64])
	elf[18], elf[19] = 22, 0
	path := filepath.Join(t.TempDir(), "plugin")
	require.NoError(t, os.WriteFile(path, elf, 0o755))
	return path
}

func TestPinnedProgramRuns(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.SHA256 = hashOf(t, s.Command)
	startReady(t, s).echoes(t)
}

func TestPinnedScriptRuns(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	script := filepath.Join(t.TempDir(), "plugin.sh")
	require.NoError(t, os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\nexec %s\n", s.Command), 0o755))
	s.Command, s.SHA256 = script, hashOf(t, script)
	startReady(t, s).echoes(t)
}

func TestLongSocketPathIsNamed(t *testing.T) {
	t.Parallel()
	log := &logBuffer{}
	d := deps(t, log)
	d.SocketDir = filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	require.NoError(t, os.Mkdir(d.SocketDir, 0o700))
	b := startWith(t, spec(t, ""), d, log)

	require.Contains(t, b.awaitFailure(t), "set TMPDIR to a shorter directory")
	left, err := os.ReadDir(d.SocketDir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestSocketDirectoryGoesWithTheProcess(t *testing.T) {
	t.Parallel()
	log := &logBuffer{}
	d := deps(t, log)
	var err error
	d.SocketDir, err = os.MkdirTemp("", "s")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(d.SocketDir) })
	s := spec(t, "")
	s.Restart = supervisor.Restart{BackoffInitial: time.Millisecond}
	b := startWith(t, s, d, log)
	b.awaitReady(t)
	b.run(t, "sigkill", "")
	b.awaitStatus(t, func(s supervisor.Status) bool {
		return s.State == supervisor.StateReady && s.Instances[0].Restarts == 1
	})
	stop(t, b.Plugin)

	left, err := os.ReadDir(d.SocketDir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestPluginWithoutTLSRunsWhenAllowed(t *testing.T) {
	t.Parallel()
	s := spec(t, "plain")
	s.DisableTLS = true
	startReady(t, s).echoes(t)
}

func TestConfigReachesThePlugin(t *testing.T) {
	t.Parallel()
	s := spec(t, "warn")
	s.Configure = func(_ context.Context, d *pluginv1.DescribeResponse) ([]byte, error) {
		return fmt.Appendf(nil, `{"for":%q}`, d.GetName()), nil
	}
	require.Equal(t, `{"for":"test"}`, startReady(t, s).run(t, "config", "").output())
}

func TestRefusedConfigEndsTheWait(t *testing.T) {
	t.Parallel()
	s := spec(t, "refuse")
	located := errors.New("config.hcl:12,3: no such currency")
	s.Diagnose = func([]*pluginv1.Diagnostic) error { return located }
	err := start(t, s).WaitReady(t.Context())
	var config *supervisor.ConfigError
	require.ErrorAs(t, err, &config)
	require.ErrorIs(t, err, located)
}

func TestFloodOnStderrHarmsNobody(t *testing.T) {
	t.Parallel()
	log := &logBuffer{}
	d := deps(t, log)
	var block atomic.Bool
	release := make(chan struct{})
	d.Logger = hclog.New(&hclog.LoggerOptions{Output: writerFunc(func(p []byte) (int, error) {
		if block.Load() {
			<-release
		}
		return len(p), nil
	})})
	b := startWith(t, spec(t, "flood"), d, log)
	t.Cleanup(func() { close(release) })
	b.awaitReady(t)
	block.Store(true)
	require.Eventually(t, func() bool { return b.Status().DroppedLogLines > 10_000 }, patience, time.Millisecond)
	b.echoes(t)
}
