package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/config"
)

// checkFile checks the plugins of a configuration that has no database.
func checkFile(t *testing.T, ctx context.Context, file string) (string, error) {
	t.Helper()
	cfg, diags := config.Parse("test.hcl", []byte("queue \"pgmq\" {}\n"+file))
	require.Empty(t, diags)
	found, err := host.CheckPlugins(ctx, host.Options{Config: cfg, ShimCommand: shimCommand()})
	var text strings.Builder
	require.NoError(t, config.Print(&text, found, cfg.Files))
	return text.String(), err
}

func TestCheckPluginsStopsWhatItStarted(t *testing.T) {
	t.Parallel()
	path, err := testPlugin()
	require.NoError(t, err)
	// The script stays the same process when it becomes the plugin.
	pid := filepath.Join(t.TempDir(), "pid")
	command := script(t, fmt.Sprintf("echo $$ > %s; exec %s", pid, path))

	text, err := checkFile(t, t.Context(), fmt.Sprintf("plugin \"good\" {\n  command = %q\n}\n", command))
	require.NoError(t, err)
	require.Empty(t, text)
	requireGone(t, pid)

	text, err = checkFile(t, t.Context(), fmt.Sprintf("plugin \"bad\" {\n  command = %q\n  config {\n    refuse = true\n  }\n}\n", command))
	require.NoError(t, err)
	require.Contains(t, text, "test.hcl:5,14")
	require.Contains(t, text, "refused as asked")
	requireGone(t, pid)
}

func TestInterruptedCheckLeavesNoPlugin(t *testing.T) {
	t.Parallel()
	pid := filepath.Join(t.TempDir(), "pid")
	command := script(t, fmt.Sprintf("echo $$ > %s.new; mv %s.new %s; exec sleep 1000", pid, pid, pid))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(pid); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	text, err := checkFile(t, ctx, fmt.Sprintf("plugin \"hangs\" {\n  command = %q\n}\n", command))
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, text)
	requireGone(t, pid)
}

func script(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin.sh")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o755))
	return path
}

// requireGone is for the process whose id is in a file.
func requireGone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.Remove(file))
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
}
