package supervisor_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

func openSession(t *testing.T, s supervisor.Spec) *supervisor.Session {
	t.Helper()
	session, err := supervisor.OpenSession(t.Context(), s, deps(t, &logBuffer{}))
	require.NoError(t, err)
	t.Cleanup(session.Close)
	return session
}

func TestSessionSpeaksTheProtocol(t *testing.T) {
	t.Parallel()
	s := openSession(t, spec(t, "echo"))

	h := s.Handshake()
	require.Equal(t, 1, h.Core)
	require.Equal(t, 1, h.Protocol)
	require.Equal(t, "unix", h.Network)
	require.FileExists(t, h.Address)
	require.NotEmpty(t, h.Certificate)

	described, err := s.Introduce(t.Context())
	require.NoError(t, err)
	require.Equal(t, "1.2.3", described.GetVersion())

	rpc, err := s.Client().Execute(t.Context())
	require.NoError(t, err)
	require.NoError(t, rpc.Send(&pluginv1.ExecuteRequest{Steps: []*pluginv1.Step{newStep("stderr", "said\n"), newStep("echo", `"x"`)}}))
	answer, err := rpc.Recv()
	require.NoError(t, err)
	require.Equal(t, `"x"`, string(answer.GetResults()[1].GetSuccess().GetOutput()))

	require.True(t, s.Stop(t.Context()))
	require.Zero(t, s.Exit().Code)
	s.Close()
	s.Close()
	require.Contains(t, s.Stderr(), "said")
	awaitGone(t, s.PID())
}

func TestSessionInTheClear(t *testing.T) {
	t.Parallel()
	plain := spec(t, "plain")
	plain.DisableTLS = true
	s := openSession(t, plain)
	require.Empty(t, s.Handshake().Certificate)
	_, err := s.Introduce(t.Context())
	require.NoError(t, err)
}

func TestSessionThatDoesNotComeToBe(t *testing.T) {
	t.Parallel()
	for mode, line := range map[string]string{"stdout": "hello from an init function", "exit": "", "plain": "unix"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			_, err := supervisor.OpenSession(t.Context(), spec(t, mode), deps(t, &logBuffer{}))
			var handshake *supervisor.HandshakeError
			require.ErrorAs(t, err, &handshake)
			require.Contains(t, handshake.Line, line)
			var start *supervisor.StartError
			require.ErrorAs(t, err, &start)
			awaitGone(t, start.PID)
		})
	}
}

func TestSessionReportsRefusedConfig(t *testing.T) {
	t.Parallel()
	s := openSession(t, spec(t, "refuse"))
	_, err := s.Introduce(t.Context())
	var config *supervisor.ConfigError
	require.ErrorAs(t, err, &config)
	require.ErrorContains(t, err, "no such currency")
}

func TestSessionEndsWhatDoesNotStop(t *testing.T) {
	t.Parallel()
	stubborn := spec(t, "ignore-shutdown")
	stubborn.Timeouts.Stop = 50 * time.Millisecond
	s := openSession(t, stubborn)
	require.False(t, s.Stop(t.Context()))
	s.Close()
	awaitGone(t, s.PID())
}

func TestAbandonedSessionIsKilled(t *testing.T) {
	t.Parallel()
	s := openSession(t, spec(t, "echo"))
	require.NoError(t, s.Abandon())
	awaitGone(t, s.PID())
}

func TestExecuteByHand(t *testing.T) {
	t.Parallel()

	t.Run("explains itself", func(t *testing.T) {
		t.Parallel()
		got, err := supervisor.ExecuteByHand(t.Context(), spec(t, "echo"), deps(t, &logBuffer{}))
		require.NoError(t, err)
		require.True(t, got.Ended)
		require.Equal(t, 1, got.Exit.Code)
		require.Contains(t, got.Stderr, "plugin")
	})
	t.Run("does not end", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		got, err := supervisor.ExecuteByHand(ctx, spec(t, "silent"), deps(t, &logBuffer{}))
		require.NoError(t, err)
		require.False(t, got.Ended)
	})
	t.Run("is no program", func(t *testing.T) {
		t.Parallel()
		s := spec(t, "")
		s.Command = t.TempDir()
		_, err := supervisor.ExecuteByHand(t.Context(), s, deps(t, &logBuffer{}))
		var program *supervisor.ProgramError
		require.ErrorAs(t, err, &program)
	})
}
