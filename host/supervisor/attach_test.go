package supervisor_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// serveByHand is a plugin that no host has started.
func serveByHand(socket string) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(protocol.ServerOptions()...)
	pluginv1.RegisterPluginServiceServer(server, &testPlugin{release: make(chan struct{})})
	_ = server.Serve(l)
}

// startByHand starts such a plugin and returns a spec that attaches it.
func startByHand(t *testing.T) (*exec.Cmd, supervisor.Spec) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "plugin.sock")
	cmd := exec.Command(testBinary(t))
	cmd.Env = append(os.Environ(), modeVariable+"=attached", "ARG="+socket)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("unix", socket)
		return err == nil && conn.Close() == nil
	}, patience, time.Millisecond)
	s := spec(t, "echo")
	s.Attach = &protocol.Attachment{Network: "unix", Address: socket, PID: cmd.Process.Pid, Protocol: protocol.Version}
	return cmd, s
}

// TestAttachedProcessMayBePaused stops the process for many times as long as
// a health check may take. TestFrozenProcess… show that one of the host's own is
// killed then.
func TestAttachedProcessMayBePaused(t *testing.T) {
	t.Parallel()
	cmd, s := startByHand(t)
	s.Timeouts.HealthInterval, s.Timeouts.Health, s.Timeouts.Send = 10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond
	b := startReady(t, s)
	require.Equal(t, cmd.Process.Pid, b.Status().Instances[0].PID)
	require.Contains(t, b.Status().Instances[0].Reason, "suspended")
	require.True(t, b.State().Untimed)

	require.NoError(t, cmd.Process.Signal(syscall.SIGSTOP))
	var status syscall.WaitStatus
	_, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
	require.NoError(t, err)
	require.True(t, status.Stopped())

	sink := newSink()
	held := newStep("echo", `"late"`)
	b.Dispatch([]*pluginv1.Step{held}, sink)
	select {
	case <-b.Detached():
		t.Fatal("the process was given up")
	case <-time.After(300 * time.Millisecond):
	}
	b.Abandon([]uint64{held.GetId()}, os.ErrDeadlineExceeded)
	require.Empty(t, sink.answers)
	require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	require.Equal(t, `"late"`, sink.next(t).output())
	b.echoes(t)
}

func TestAttachedProcessIsNotKilled(t *testing.T) {
	t.Parallel()
	cmd, s := startByHand(t)
	b := startReady(t, s)
	stop(t, b.Plugin)
	require.NoError(t, cmd.Process.Signal(syscall.Signal(0)), "it lives on")

	// Nobody minds who attaches it next.
	startReady(t, s).echoes(t)
}

func TestEndOfAnAttachedProcess(t *testing.T) {
	t.Parallel()
	cmd, s := startByHand(t)
	b := startReady(t, s)
	sink := newSink()
	b.Dispatch([]*pluginv1.Step{newStep("hold", "{}")}, sink)
	sink.beat(t)
	require.NoError(t, cmd.Process.Kill())

	lost := sink.next(t).lost
	var detached *supervisor.DetachedError
	require.ErrorAs(t, lost, &detached)
	require.True(t, detached.Bystander())
	require.Equal(t, cmd.Process.Pid, detached.PID)
	<-b.Detached()
	require.False(t, b.State().Ready)
}

func TestAttachToNobody(t *testing.T) {
	t.Parallel()
	s := spec(t, "echo")
	s.Attach = &protocol.Attachment{Network: "unix", Address: filepath.Join(t.TempDir(), "none.sock"), PID: 1, Protocol: protocol.Version}
	b := start(t, s)
	require.ErrorContains(t, b.WaitStarted(t.Context()), "no such file")
	<-b.Detached()
}
