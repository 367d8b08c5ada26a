package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/admin"
)

func TestShortDuration(t *testing.T) {
	t.Parallel()
	for in, want := range map[time.Duration]string{
		0:                                   "0s",
		1234 * time.Nanosecond:              "1µs",
		1234567 * time.Nanosecond:           "1.2ms",
		12345 * time.Millisecond:            "12.3s",
		2*time.Hour + 1500*time.Millisecond: "2h0m2s",
	} {
		require.Equal(t, want, shortDuration(in), in.String())
	}
}

func TestTableKeepsItsShape(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	table := newTable(&out, "NAME", "ERROR")
	table.row("a", "first\tline\nsecond")
	table.row("bb", "")
	require.NoError(t, table.flush())
	require.Equal(t, "NAME  ERROR\na     first line second\nbb    -\n", out.String())
}

func TestShorten(t *testing.T) {
	t.Parallel()
	require.Equal(t, "äöü", shorten("äöü", 3))
	require.Equal(t, "äö…", shorten("äöüß", 3))
}

func TestPluginListNamesTheProbation(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &app{stdout: &out}
	require.NoError(t, a.printPlugins([]admin.Plugin{{
		Name: "orders", State: "ready", Ready: 2, Reason: "as it should be",
		Instances: []admin.Instance{{PID: 11, InFlight: 1}, {PID: 12}, {PID: 13, Probation: true, InFlight: 4}},
	}}))
	require.Regexp(t, `(?m)^orders .* ready \(2/2\) .* 11,12,13 +5 .* as it should be; suspects of a crash run apart in 13$`, out.String())
}

func TestErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	joined := errors.Join(errors.New("drain: 3 left"), errors.New("stop\r\n  plugin"))
	require.Equal(t, "drain: 3 left; stop; plugin", oneLine(joined))
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want int
	}{
		{errors.New("anything"), ExitFailure},
		{fmt.Errorf("wrapped: %w", &usageError{errors.New("x")}), ExitUsage},
		{fmt.Errorf("wrapped: %w", &admin.UnreachableError{Err: errors.New("x")}), ExitNoHost},
		{&reportedError{code: ExitUsage}, ExitUsage},
	} {
		require.Equal(t, test.want, exitCode(t.Context(), test.err), test.err)
	}
}

func TestRetiringGenerationsAreListed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &app{stdout: &out}
	require.NoError(t, a.printPlugins([]admin.Plugin{{
		Name: "orders", Version: "v2", State: "ready", Generation: 2, Instances: []admin.Instance{{PID: 20, InFlight: 5}},
		Retiring: []admin.Retiring{{Generation: 1, Version: "v1", State: "draining", PIDs: []int{10, 11}, InFlight: 3, Reason: "it finishes its steps"}},
	}}))
	require.Regexp(t, `(?m)^orders +v2 +ready +never +- +2 +20 +5 `, out.String())
	require.Regexp(t, `(?m)^orders +v1 +draining +never +- +1 +10,11 +3 +- +- +it finishes its steps$`, out.String())
}

// TestFlagsHaveTheirTypesInHelp: cobra takes what stands between backquotes in
// a flag's description for the name of its value.
func TestFlagsHaveTheirTypesInHelp(t *testing.T) {
	t.Parallel()
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.LocalFlags().FlagUsages()) {
			require.Regexp(t, `^ +(-\w, )?--[\w-]+( \w+)?  +\S`, line, cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit((&app{}).rootCommand())
}
