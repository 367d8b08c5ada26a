package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/bench/suite/internal/suite"
)

func TestMain(m *testing.M) {
	if code, other := asOther(os.Args[1:]); other {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// Each scenario fails by itself when something is lost or settled twice.
func TestScenarios(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	programs := suite.Programs{Self: os.Args[0], Stephost: filepath.Join(dir, "stephost"), Noop: filepath.Join(dir, "noop")}
	for to, from := range map[string]string{programs.Stephost: "cmd/stephost", programs.Noop: "plugins/examples/noop"} {
		build := exec.Command("go", "build", "-o", to, "./"+from)
		build.Dir = "../.."
		out, err := build.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	env, err := suite.Start(ctx, suite.Options{
		Form: suite.Tiny, Programs: programs, Log: hclog.NewNullLogger(),
		Server: map[string]string{"fsync": "off", "full_page_writes": "off"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, env.Stop(context.Background())) })

	seen := make(map[string]bool)
	for _, s := range scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			result, err := s.Run(ctx, env)
			require.NoError(t, err)
			require.NotEmpty(t, result.Figures)
			for _, f := range result.Figures {
				require.Regexp(t, regexp.MustCompile(`^[a-z0-9_]+ [0-9.]+ [a-zA-Z/%]+$`), f.Line())
				require.False(t, seen[f.Name], "two figures are called %s", f.Name)
				seen[f.Name] = true
			}
		})
	}
}
