package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// change is a transition as the log has it.
type change struct{ from, to, reason string }

func (l *logBuffer) changes(t *testing.T) []change {
	t.Helper()
	var list []change
	for line := range strings.Lines(l.String()) {
		var entry struct {
			Message string `json:"@message"`
			Plugin  string `json:"plugin"`
			From    string `json:"from"`
			To      string `json:"to"`
			Reason  string `json:"reason"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &entry))
		if entry.Message == "plugin changed its state" {
			require.Equal(t, "orders", entry.Plugin)
			list = append(list, change{entry.From, entry.To, entry.Reason})
		}
	}
	return list
}

func TestEachTransitionIsLoggedOnceWithItsReason(t *testing.T) {
	t.Parallel()
	b, clock, cure := curable(t, supervisor.Restart{BackoffInitial: time.Second, MaxCrashes: 2, Window: time.Minute})
	clock.advance(clock.wait(t))
	require.Equal(t, time.Minute, clock.wait(t))
	clock.advance(time.Minute)
	require.Equal(t, time.Minute, clock.wait(t))
	cure()
	clock.advance(time.Minute)
	status := b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateReady })
	require.Equal(t, clock.Now(), status.Since)
	require.Contains(t, status.Reason, "the probe succeeded")
	stop(t, b.Plugin)

	want := []change{
		{"stopped", "starting", "first start"},
		{"starting", "backing-off", "exit status 3"},
		{"backing-off", "starting", "starts again after its start failed: "},
		{"starting", "tripped", "2 crashes within 1m0s, the last: "},
		{"tripped", "starting", "instance 0 probes whether it works again after: 2 crashes within 1m0s"},
		{"starting", "tripped", "the probe failed, the last: "},
		{"tripped", "starting", "instance 0 probes whether it works again after: the probe failed"},
		{"starting", "ready", "the probe succeeded: started in "},
		{"ready", "draining", "it is being stopped"},
		{"draining", "stopped", "it has been stopped"},
	}
	got := b.log.changes(t)
	require.Len(t, got, len(want), "%v", got)
	for n, w := range want {
		require.Equal(t, []string{w.from, w.to}, []string{got[n].from, got[n].to}, "transition %d", n)
		require.Contains(t, got[n].reason, w.reason)
	}
}

func TestReadyPluginSaysHow(t *testing.T) {
	t.Parallel()
	b := startReady(t, quickRestart(t, ""))
	require.Contains(t, b.Status().Reason, "started in ")
	require.Empty(t, b.State().Reason)

	require.Error(t, b.run(t, "exit", "").lost)
	status := b.awaitStatus(t, func(s supervisor.Status) bool {
		return s.State == supervisor.StateReady && s.Restarts == 1
	})
	require.Regexp(t, `^started in \S+ after it crashed: exit status 3$`, status.Reason)
	require.EqualValues(t, 1, status.Crashes)
	require.Equal(t, 1, status.Breaker.Crashes)
	require.Zero(t, status.FailedStarts)
}

// TestPoolSaysWhichInstanceIsDown has one of three that stays down.
func TestPoolSaysWhichInstanceIsDown(t *testing.T) {
	t.Parallel()
	s := spec(t, "")
	s.Instances = 3
	b := start(t, s)
	whole := func(s supervisor.Status) bool { return s.Ready() == 3 }
	status := b.awaitStatus(t, whole)
	require.Regexp(t, `^3/3 instances ready: instance \d started in `, status.Reason)
	require.Equal(t, 21, b.State().MaxConcurrency)

	require.Error(t, b.run(t, "sigkill", "").lost)
	status = b.awaitStatus(t, func(s supervisor.Status) bool { return s.Ready() == 2 })
	require.Equal(t, supervisor.StateReady, status.State)
	require.Regexp(t, `^2/3 instances ready: instance \d is backing-off: it crashed: killed by SIGKILL`, status.Reason)
	require.Equal(t, 14, b.State().MaxConcurrency)
	require.False(t, status.NextAttempt.IsZero())
	b.echoes(t)

	require.NoError(t, b.Reset())
	status = b.awaitStatus(t, whole)
	require.True(t, status.NextAttempt.IsZero())
	require.Equal(t, 21, b.State().MaxConcurrency)
}

// TestOneInstanceProbes lets every start wait for the test's word.
func TestOneInstanceProbes(t *testing.T) {
	t.Parallel()
	const instances = 3
	s := spec(t, "")
	s.Instances = instances
	s.Restart = supervisor.Restart{BackoffInitial: time.Second, MaxCrashes: instances, Window: time.Minute}
	var configured atomic.Int64
	gate := make(chan error)
	s.Configure = func(ctx context.Context, _ *pluginv1.DescribeResponse) ([]byte, error) {
		configured.Add(1)
		select {
		case err := <-gate:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	log := &logBuffer{}
	d := deps(t, log)
	clock := newHandClock()
	d.Clock = clock
	b := startWith(t, s, d, log)
	tripped := func(starts uint64) func(supervisor.Status) bool {
		return func(s supervisor.Status) bool { return s.State == supervisor.StateTripped && s.FailedStarts == starts }
	}
	for range instances {
		gate <- errors.New("not yet")
	}
	b.awaitStatus(t, tripped(instances))

	for failures := range 2 {
		clock.advance(time.Minute)
		status := b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateStarting })
		require.Contains(t, status.Reason, "probes whether it works again")
		require.True(t, status.NextAttempt.IsZero(), "the others wait for the probe")
		gate <- errors.New("not yet")
		status = b.awaitStatus(t, tripped(uint64(instances+failures+1)))
		require.EqualValues(t, failures+1, status.Restarts)
	}

	clock.advance(time.Minute)
	gate <- nil
	// The others follow only now.
	gate <- nil
	gate <- nil
	status := b.awaitStatus(t, func(s supervisor.Status) bool { return s.Ready() == instances })
	require.Equal(t, supervisor.StateReady, status.State)
	require.EqualValues(t, instances+2+instances, configured.Load())
}
