package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/config"
)

func TestDiffs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nothing", "members", "settings", "secrets"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join("testdata", "diff", name)
			got := diffText(config.Compare(load(t, dir, "before.hcl"), load(t, dir, "after.hcl")))
			require.NotContains(t, got, hidden)
			golden := filepath.Join(dir, "want.txt")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
			require.Equal(t, name == "nothing", got == "")
		})
	}
}

func TestEveryKeyOfTheHostIsFoundInADiff(t *testing.T) {
	t.Parallel()
	for _, c := range keyCases() {
		d := config.Compare(parse(t, ""), parse(t, c.hcl))
		require.False(t, d.Empty(), c.field)
		require.True(t, config.Compare(parse(t, c.hcl), parse(t, c.hcl)).Empty(), c.field)
	}
}

func load(t *testing.T, dir, file string) *config.Config {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(dir, file))
	require.NoError(t, err)
	cfg, diags := config.Parse(file, src, append(testOptions(), config.WithFileChecks(false), config.WithHostID(func() (string, error) {
		return "random-" + file, nil
	}))...)
	require.Empty(t, diags)
	return cfg
}

func diffText(d config.Diff) string {
	var b strings.Builder
	changes := func(title string, list []config.Change) {
		for _, c := range list {
			fmt.Fprintf(&b, "%s%s at %q: %s\n", title, c.Path, c.Place(), c.Values())
		}
	}
	members := func(kind string, m config.Members) {
		for _, name := range m.Added {
			fmt.Fprintf(&b, "%s added: %s\n", kind, name)
		}
		for _, name := range m.Removed {
			fmt.Fprintf(&b, "%s removed: %s\n", kind, name)
		}
		for _, member := range m.Changed {
			fmt.Fprintf(&b, "%s changed: %s\n", kind, member.Name)
			changes("  ", member.Keys)
		}
	}
	members("plugin", d.Plugins)
	members("namespace", d.Namespaces)
	changes("now: ", d.Live)
	changes("at the next start: ", d.Restart)
	return b.String()
}

func TestMergeTakesWhatARunningHostCan(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nothing", "members", "settings", "secrets"} {
		dir := filepath.Join("testdata", "diff", name)
		running, next := load(t, dir, "before.hcl"), load(t, dir, "after.hcl")
		merged := config.Merge(running, next)
		left := config.Compare(merged, next)
		want := config.Diff{Restart: config.Compare(running, next).Restart}
		require.Equal(t, diffText(want), diffText(left), "what waits for the next start is still found")
		require.Equal(t, diffText(want), diffText(config.Compare(config.Merge(merged, next), next)))
	}
}
