package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/supervisor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// alone gives what starts the test plugin by itself. block is the body of its
// config block.
func alone(t *testing.T, block string) (supervisor.Spec, supervisor.Deps) {
	t.Helper()
	path, err := testPlugin()
	require.NoError(t, err)
	cfg, diags := config.StandalonePlugin("test", path, nil, &config.Block{Filename: "block.hcl", Src: []byte(block)})
	require.Empty(t, diags)
	spec, deps, err := host.PluginAlone(host.Options{Config: cfg, Logger: hclog.NewNullLogger(), ShimCommand: shimCommand()}, "test")
	require.NoError(t, err)
	return spec, deps
}

func runStep(t *testing.T, ctx context.Context, input string, change func(*supervisor.Spec, *host.StepRequest)) (*pluginv1.Result, error) {
	t.Helper()
	spec, deps := alone(t, `word = "here"`)
	req := host.StepRequest{Input: []byte(input)}
	if change != nil {
		change(&spec, &req)
	}
	step, result, err := host.RunStep(ctx, spec, deps, req)
	if err == nil {
		require.Equal(t, "work", step)
	}
	return result, err
}

func TestRunStep(t *testing.T) {
	t.Parallel()

	t.Run("success", func(t *testing.T) {
		t.Parallel()
		r, err := runStep(t, t.Context(), `{"config": true}`, nil)
		require.NoError(t, err)
		require.Contains(t, string(r.GetSuccess().GetOutput()), `"here"`)
	})
	t.Run("attempt and emits", func(t *testing.T) {
		t.Parallel()
		r, err := runStep(t, t.Context(), `{"next": "b"}`, func(_ *supervisor.Spec, req *host.StepRequest) { req.Step = "work" })
		require.NoError(t, err)
		require.Equal(t, "b", r.GetSuccess().GetEmits()[0].GetNamespace())
	})
	t.Run("failure", func(t *testing.T) {
		t.Parallel()
		r, err := runStep(t, t.Context(), `{"fail": "no funds", "permanent": true}`, nil)
		require.NoError(t, err)
		require.Equal(t, pluginv1.FailureVerdict_FAILURE_VERDICT_PERMANENT, r.GetFailure().GetVerdict())
	})
	t.Run("crash", func(t *testing.T) {
		t.Parallel()
		_, err := runStep(t, t.Context(), `{"exit": true, "log": "/dev/null", "until": "/dev/null"}`, nil)
		var crash *supervisor.CrashError
		require.ErrorAs(t, err, &crash)
		require.Equal(t, 2, crash.Exit.Code)
	})
	t.Run("timeout", func(t *testing.T) {
		t.Parallel()
		r, err := runStep(t, t.Context(), `{"until": "/never"}`, func(_ *supervisor.Spec, req *host.StepRequest) { req.Timeout = 50 * time.Millisecond })
		require.NoError(t, err)
		require.Equal(t, "timeout", r.GetFailure().GetType())
	})
	t.Run("timeout that is ignored", func(t *testing.T) {
		t.Parallel()
		_, err := runStep(t, t.Context(), `{"until": "/never", "regardless": true}`, func(s *supervisor.Spec, req *host.StepRequest) {
			req.Timeout, s.Timeouts.Stop = 50*time.Millisecond, 50*time.Millisecond
		})
		require.ErrorContains(t, err, `step "work" has no result 50ms after its timeout of 50ms`)
	})
	t.Run("no such step", func(t *testing.T) {
		t.Parallel()
		_, err := runStep(t, t.Context(), `{}`, func(_ *supervisor.Spec, req *host.StepRequest) { req.Step = "fly" })
		require.EqualError(t, err, `the plugin has no step "fly", it has work`)
	})
}

func TestRunStepIsCancelled(t *testing.T) {
	t.Parallel()
	for _, regardless := range []bool{false, true} {
		t.Run(fmt.Sprintf("regardless %v", regardless), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			began, told := filepath.Join(dir, "began"), filepath.Join(dir, "told")
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				for {
					if _, err := os.Stat(began); err == nil || t.Context().Err() != nil {
						cancel()
						return
					}
					time.Sleep(time.Millisecond)
				}
			}()
			r, err := runStep(t, ctx, fmt.Sprintf(`{"log": %q, "until": "/never", "told": %q, "regardless": %v}`, began, told, regardless),
				func(s *supervisor.Spec, _ *host.StepRequest) { s.Timeouts.Stop = 300 * time.Millisecond })
			require.FileExists(t, told)
			if regardless {
				require.ErrorIs(t, err, context.Canceled)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "cancelled", r.GetFailure().GetType())
		})
	}
}

func TestPluginAlone(t *testing.T) {
	t.Parallel()
	_, _, err := host.PluginAlone(host.Options{Config: &config.Config{}}, "orders")
	require.ErrorContains(t, err, `no plugin "orders"`)

	spec, deps := alone(t, "word = 5\nrefuse = true")
	_, _, err = host.RunStep(t.Context(), spec, deps, host.StepRequest{Input: []byte("{}")})
	var refused *supervisor.ConfigError
	require.ErrorAs(t, err, &refused)
	require.ErrorContains(t, err, "block.hcl:2,10")
}
