package supervisor_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

func hashOf(t *testing.T, path string) string {
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// quickRestart restarts without delay.
func quickRestart(t *testing.T, mode string) supervisor.Spec {
	s := spec(t, mode)
	s.Restart = supervisor.Restart{BackoffInitial: time.Millisecond}
	return s
}

func TestCrashesLoseStepsAndRestart(t *testing.T) {
	t.Parallel()
	for step, want := range map[string][]string{
		"exit":    {"crashed: exit status 3"},
		"panic":   {"crashed: exit status 2", "panic: boom in a handler"},
		"sigkill": {"crashed: killed by SIGKILL"},
		"end":     {"ended a stream"},
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			b := startReady(t, quickRestart(t, ""))
			first := b.Status().Instances[0].PID

			s := newSink()
			b.Dispatch([]*pluginv1.Step{newStep("hold", "")}, s)
			s.beat(t)
			b.Dispatch([]*pluginv1.Step{newStep(step, "")}, s)
			for range 2 {
				a := s.next(t)
				var crash *supervisor.CrashError
				require.ErrorAs(t, a.lost, &crash)
				require.Equal(t, first, crash.PID)
				for _, text := range want {
					require.Contains(t, a.lost.Error(), text)
				}
			}
			b.awaitStatus(t, func(s supervisor.Status) bool {
				return s.State == supervisor.StateReady && s.Instances[0].Restarts == 1
			})
			require.NotEqual(t, first, b.Status().Instances[0].PID)
			b.echoes(t)
		})
	}
}

func TestFrozenPluginIsReplaced(t *testing.T) {
	t.Parallel()
	s := quickRestart(t, "")
	s.Timeouts.HealthInterval, s.Timeouts.Health = 20*time.Millisecond, 2*time.Second
	b := startReady(t, s)
	pid := b.Status().Instances[0].PID
	sk := newSink()
	b.Dispatch([]*pluginv1.Step{newStep("hold", "")}, sk)
	sk.beat(t)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))

	require.ErrorContains(t, sk.next(t).lost, "health check: no answer within 2s")
	awaitGone(t, pid)
	b.awaitStatus(t, func(s supervisor.Status) bool {
		return s.State == supervisor.StateReady && s.Instances[0].Restarts == 1
	})
	b.echoes(t)
}

func TestFrozenPluginStopsInTime(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Timeouts.Stop = 100 * time.Millisecond
	b := startReady(t, s)
	pid := b.Status().Instances[0].PID
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	stop(t, b.Plugin)
	awaitGone(t, pid)
}

func TestPluginThatIgnoresShutdownIsKilled(t *testing.T) {
	t.Parallel()
	s := spec(t, "ignore-shutdown")
	s.Timeouts.Stop = 100 * time.Millisecond
	b := startReady(t, s)
	pid := b.Status().Instances[0].PID
	stop(t, b.Plugin)
	awaitGone(t, pid)
	b.log.await(t, "did not stop in time")
}

func TestPluginThatDoesNotReadIsReplaced(t *testing.T) {
	t.Parallel()
	s := quickRestart(t, "")
	s.Timeouts.Send = 300 * time.Millisecond
	b := startReady(t, s)
	require.NotNil(t, b.run(t, "deaf", "").result)
	sk := newSink()
	body := `"` + strings.Repeat("b", 200<<10) + `"`
	var steps []*pluginv1.Step
	for range 200 {
		steps = append(steps, newStep("echo", body))
	}
	b.Dispatch(steps, sk)
	lost, returned := 0, 0
	for range steps {
		switch a := sk.next(t); {
		case a.lost != nil:
			require.ErrorContains(t, a.lost, "took nothing from its stream")
			lost++
		case a.returned:
			returned++
		}
	}
	require.Positive(t, lost, "some had been sent")
	require.Positive(t, returned, "some had not")
	require.Equal(t, len(steps), lost+returned)
}

func TestGrandchildCannotHideTheDeath(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"grandchild", "grandchild-apart"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := quickRestart(t, mode)
			s.Env["ARG"] = filepath.Join(t.TempDir(), "pid")
			b := startReady(t, s)
			content, err := os.ReadFile(s.Env["ARG"])
			require.NoError(t, err)
			pid, err := strconv.Atoi(string(content))
			require.NoError(t, err)

			require.ErrorContains(t, b.run(t, "sigkill", "").lost, "SIGKILL")
			if mode == "grandchild" {
				awaitGone(t, pid)
			} else {
				// It left the group, so it is the plugin's own affair.
				require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			}
			b.awaitStatus(t, func(s supervisor.Status) bool {
				return s.State == supervisor.StateReady && s.Instances[0].Restarts == 1
			})
			stop(t, b.Plugin)
			if content, err = os.ReadFile(s.Env["ARG"]); err == nil && mode == "grandchild-apart" {
				pid, err = strconv.Atoi(string(content))
				require.NoError(t, err)
				require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			}
		})
	}
}

func TestStrayResultsAreCountedAndIgnored(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	require.NotNil(t, b.run(t, "twice", "").result)
	require.NotNil(t, b.run(t, "stranger", "").result)
	b.echoes(t)
	require.EqualValues(t, 2, b.Status().StrayResults)
	require.Zero(t, b.Status().Instances[0].InFlight)
}

func TestTraceOfACrashIsWhatMatters(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1000)
	crash := supervisor.CrashError{Stderr: []string{"1 " + long, "2 " + long, "panic: boom", "", "goroutine 7 [running]:", "main.f()"}}
	require.Equal(t, "panic: boom\n\ngoroutine 7 [running]:\nmain.f()", crash.Trace())
	crash.Stderr = []string{"1 " + long, "2 " + long, "3 " + long, "4 " + long, "5 " + long, "the end"}
	require.Len(t, crash.Trace(), 4*len("2 "+long+"\n")+len("the end"), "the beginning is left out")
	require.True(t, strings.HasPrefix(crash.Trace(), "2 x"))
	require.Empty(t, (&supervisor.CrashError{}).Trace())
}
