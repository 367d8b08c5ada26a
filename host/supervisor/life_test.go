package supervisor_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
)

func TestReadyPluginRunsSteps(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))

	b.echoes(t)
	state := b.State()
	require.Equal(t, 7, state.MaxConcurrency)
	require.Equal(t, "echo", state.Default)
	require.Contains(t, state.Steps, "hold")
	status := b.Status()
	require.Equal(t, "1.2.3", status.Version)
	require.Equal(t, supervisor.StateReady, status.State)
	pid := status.Instances[0].PID

	stop(t, b.Plugin)
	awaitGone(t, pid)
	require.False(t, b.State().Ready)
	require.True(t, b.run(t, "echo", "").returned)
}

func TestEnvironmentIsMinimal(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Env["REGION"] = "eu"
	b := startReady(t, s)

	var env []string
	require.NoError(t, json.Unmarshal([]byte(b.run(t, "env", "").output()), &env))
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		known := strings.HasPrefix(name, "PLUGIN_") || name == "STEPHOST_PLUGIN" || name == modeVariable ||
			name == "PATH" || name == "HOME" || name == "TMPDIR" || name == "REGION" || name == "GORACE"
		require.True(t, known, "the plugin sees %s", entry)
	}
	require.Contains(t, env, "REGION=eu")
}

func TestHeldPluginIsStoppedFromTheOutset(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Hold = "its program is being made"
	b := start(t, s)
	require.ErrorContains(t, b.WaitReady(t.Context()), s.Hold)
	require.Error(t, b.WaitStarted(t.Context()))
	status := b.Status()
	require.Equal(t, supervisor.StateStopped, status.State)
	require.Equal(t, s.Hold, status.Reason)
	require.Zero(t, status.Instances[0].PID)
	require.True(t, b.run(t, "echo", "").returned)
	require.ErrorIs(t, b.Reset(), supervisor.ErrStopped)
}
