package soak_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stephost/stephost/chaos/internal/plateau"
	"github.com/stephost/stephost/chaos/internal/soak"
	"github.com/stephost/stephost/chaos/internal/vitals"
	"github.com/stephost/stephost/chaos/internal/world"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// programs builds what a world runs.
func programs(t *testing.T, opts *world.Options) {
	t.Helper()
	opts.Dir = t.TempDir()
	opts.Stephost, opts.Handler = filepath.Join(opts.Dir, "stephost"), filepath.Join(opts.Dir, "handler")
	for program, source := range map[string]string{opts.Stephost: "../../../cmd/stephost", opts.Handler: "../../handler"} {
		out, err := exec.Command("go", "build", "-o", program, source).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// A soak of seconds cannot tell a slow leak from a warm-up, but it can fail: the
// handler leaks megabytes a second. Everything else is as in an hour. It is ended
// early, as by Ctrl-C, and reports all the same.
func TestSoakFindsALeak(t *testing.T) {
	t.Parallel()
	form := soak.Form()
	form.Lease, form.Hold = 2*time.Second, time.Second
	opts := world.Defaults(form)
	opts.Instances, opts.Leak = 1, 512<<10
	programs(t, &opts)
	soak.Shape(&opts)
	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	report, err := soak.Run(ctx, soak.Options{
		World: opts, Duration: time.Minute, Seed: 1, Log: &log,
		Only: []string{"kill-plugin", "crash-postgres", "kill-host", "end-backends"},
	})
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, report.Print(&text))
	t.Logf("%s\n%s", &log, &text)

	require.Empty(t, report.Problems)
	require.Empty(t, report.Audit.Breaches())
	require.Greater(t, report.Audit.Messages, 100)
	require.NotEmpty(t, report.Faults)

	leak := line(t, report, "calm host: plugins", vitals.Resident)
	require.Equal(t, plateau.Grows, leak.Verdict)
	require.Greater(t, leak.Growth, 32.0*(1<<20), "a process that comes for probation is half of that")
	require.Contains(t, report.Findings(), "calm host: plugins, resident bytes: GROWS")
	require.Contains(t, text.String(), "in less than 10m0s a series that still warms up")
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	require.Contains(t, lines[len(lines)-1], "soak FAILED")
	require.Contains(t, lines[len(lines)-1], "lost 0, settled_twice 0")

	// Of memory it takes longer to tell: a small heap is collected rarely.
	require.Equal(t, plateau.Flat, line(t, report, "calm host", vitals.Goroutines).Verdict, "it is not all that grows")
	require.False(t, line(t, report, "mortal host", vitals.Resident).Judged)
	entries, err := os.ReadDir(opts.TempDir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func line(t *testing.T, report *soak.Report, subject string, measure vitals.Measure) soak.Line {
	t.Helper()
	for _, l := range report.Lines() {
		if l.Subject.Name == subject && l.Measure == measure {
			return l
		}
	}
	require.Failf(t, "no such series", "%s, %s", subject, measure)
	return soak.Line{}
}

func TestUnknownFault(t *testing.T) {
	t.Parallel()
	_, err := soak.Run(t.Context(), soak.Options{Only: []string{"kill-plugin", "flood"}})
	require.ErrorContains(t, err, `there is no fault "flood": use kill-plugin, `)
}
