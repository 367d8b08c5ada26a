package conformance_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/conformance"
	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/host/supervisor/shim"
)

func options(t *testing.T, mode string) conformance.Options {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return conformance.Options{
		Spec: supervisor.Spec{Name: "test", Command: self, Env: map[string]string{modeVariable: mode, "GORACE": "atexit_sleep_ms=0"}},
		Deps: supervisor.Deps{Shim: []string{self, shim.Command}, HostVersion: "test"},
	}
}

func check(t *testing.T, opts conformance.Options) *conformance.Report {
	t.Helper()
	report, err := conformance.Check(t.Context(), opts)
	require.NoError(t, err)
	return report
}

// A step that takes slow is slow enough for the kit. Where a step is to end
// early, leisurely leaves a busy machine time for that.
const (
	slow      = "600ms"
	leisurely = "1500ms"
)

func TestSoundPluginKeepsEveryClause(t *testing.T) {
	t.Parallel()
	var told []string
	opts := options(t, "sound")
	opts.Spec.Env[slowVariable] = leisurely
	opts.OnFinding = func(f conformance.Finding) { told = append(told, f.ID) }
	report := check(t, opts)
	require.Len(t, report.Findings, len(conformance.Clauses()))
	for n, f := range report.Findings {
		require.Equal(t, conformance.Kept, f.Outcome, "%v %s", f, f.Note)
		require.Equal(t, f.ID, told[n])
	}
	require.True(t, report.Conforms())
	require.Equal(t, "test", report.Plugin)
	require.Equal(t, "1", report.Version)
}

// fault is a plugin that breaks a clause, and what the report says.
type fault struct {
	clause, mode, seen string
	change             func(*conformance.Options)
}

func impatient(o *conformance.Options) {
	o.Patience = 500 * time.Millisecond
	o.Spec.Timeouts.Stop = 200 * time.Millisecond
}

func plain(o *conformance.Options) { o.Spec.DisableTLS = true }

func faults() []fault {
	return []fault{
		{"start.by-hand", "by-hand-silent", "no output", nil},
		{"start.by-hand", "by-hand-zero", "exit status 0", nil},
		{"start.by-hand", "by-hand-stays", "still runs", impatient},
		{"start.handshake", "prints", `"hello from a library"`, nil},
		{"start.handshake", "exits", "exit status 3", nil},
		{"start.version", "next-version", "version 99", nil},
		{"start.version", "other-core", "handshake 2", nil},
		{"start.version", "net-rpc", "does not serve gRPC", nil},
		{"start.tls", "no-certificate", "TLS certificate", nil},
		{"start.plain", "always-tls", "although TLS is off", nil},
		{"start.stranger", "any-client", "answered", nil},
		{"start.address", "anywhere", "0.0.0.0", plain},
		{"start.time", "late", "s", nil},
		{"describe.answers", "no-describe", "Unimplemented: later", nil},
		{"describe.repeatable", "counts", "differ", nil},
		{"describe.name", "nameless", `name ""`, nil},
		{"describe.schema", "bad-type", `attribute "currency": bad type`, nil},
		{"describe.steps", "no-steps", "none", nil},
		{"describe.steps", "same-steps", `"quick"`, nil},
		{"describe.steps", "two-defaults", "2 in the answer", nil},
		{"describe.capabilities", "odd-capability", "99", nil},
		{"protocol.unknown-fields", "strict", "unknown field", nil},
		{"configure.accepts", "refuses", "not today", nil},
		{"configure.description", "schema-again", "one", nil},
		{"configure.invalid", "config-crash", "exit status 7", nil},
		{"configure.first", "eager", "the step ran", nil},
		{"health.answers", "unhealthy", "NOT_SERVING", nil},
		{"execute.answers", "mute", "1 steps without one", impatient},
		{"execute.batch", "drops-batch", " steps without one", impatient},
		{"execute.ids", "float-ids", "3 steps without one", impatient},
		{"execute.inputs", "crashes", "unanswered", nil},
		{"execute.unknown-step", "falls-back", "Success", nil},
		{"execute.large", "small-messages", "ResourceExhausted", nil},
		{"execute.streams", "one-stream", "unanswered", impatient},
		{"execute.empty", "hates-empty", "InvalidArgument", nil},
		{"execute.reset", "dies-on-reset", "exit status 8", nil},
		{"timing.concurrent", "serial", "for all", nil},
		{"timing.max-concurrency", "greedy", "3", nil},
		{"timing.timeout", "ignores-timeout", "s", nil},
		{"timing.timeout", "vague-timeout", `type "cancelled"`, func(o *conformance.Options) { o.Spec.Env[slowVariable] = leisurely }},
		{"cancel.unknown", "strict-cancel", "NotFound", nil},
		{"cancel.running", "ignores-cancel", "ms", nil},
		{"result.once", "twice", "a second Result", nil},
		{"result.outcome", "no-outcome", "no outcome", nil},
		{"result.output", "not-json", `"ok"`, nil},
		{"result.emits", "bad-emit", `"{"`, nil},
		{"result.emits", "lost-emit", "neither queue nor namespace", nil},
		{"result.emits", "declares-nothing", "1 of them", nil},
		{"result.failure", "no-message", "empty", nil},
		{"result.failure", "odd-verdict", "17", nil},
		{"result.failure", "odd-delay", "retry_after_ms = 5", nil},
		{"result.times", "milliseconds", "1970", nil},
		{"result.heartbeats", "late-beat", "one for", nil},
		{"result.heartbeats", "over-one", "50", nil},
		{"result.heartbeats", "declares-nothing", "one", nil},
		{"drain.idle", "never-ends", "stays open", impatient},
		{"drain.idle", "ends-badly", "Internal: no more", nil},
		{"drain.queued", "ends-at-once", "without a Result", nil},
		{"drain.running", "refuses-running", "not accepted: draining", nil},
		{"drain.others", "once", "FailedPrecondition", nil},
		{"stop.asked", "stays", "still runs", impatient},
		{"stop.clean", "dies-by-signal", "SIGTERM", nil},
		{"stop.group", "leaves-group", "", nil},
		{"stop.host-gone", "daemon", "a connection was accepted", nil},
	}
}

func TestStartThatIsNotQuickSaysHowLongItTook(t *testing.T) {
	t.Parallel()
	opts := options(t, "late")
	opts.Only = []string{"start.time"}
	took, err := time.ParseDuration(check(t, opts).Findings[0].Seen)
	require.NoError(t, err)
	require.Greater(t, took, 3*time.Second, "it sleeps that long by itself")
}

func TestBrokenPluginsBreakTheirClause(t *testing.T) {
	t.Parallel()
	for _, c := range faults() {
		t.Run(c.clause+"/"+c.mode, func(t *testing.T) {
			t.Parallel()
			opts := options(t, c.mode)
			opts.Only = []string{c.clause}
			if strings.HasPrefix(c.clause, "timing.") || strings.HasSuffix(c.clause, ".running") {
				opts.Spec.Env[slowVariable] = slow
			}
			if c.change != nil {
				c.change(&opts)
			}
			f := check(t, opts).Findings[0]
			require.Equal(t, conformance.Broken, f.Outcome, "%+v", f)
			require.Contains(t, f.Seen, c.seen)
			require.NotEmpty(t, f.Expected)
		})
	}
}

// TestBrokenConfigClauses are about configurations that the kit makes up.
func TestBrokenConfigClauses(t *testing.T) {
	t.Parallel()
	for mode, seen := range map[string]string{"lost-path": ".config.currency", "lost-index": ".account.id", "no-summary": "empty"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			opts := options(t, mode)
			opts.Only = []string{"configure.invalid", "configure.diagnostics"}
			report := check(t, opts)
			require.Equal(t, conformance.Kept, report.Findings[0].Outcome, "%v", report.Findings[0])
			require.Equal(t, conformance.Broken, report.Findings[1].Outcome)
			require.Contains(t, report.Findings[1].Seen, seen)
		})
	}
	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		opts := options(t, "config-hang")
		opts.Only = []string{"configure.invalid"}
		impatient(&opts)
		report := check(t, opts)
		require.Equal(t, conformance.Broken, report.Findings[0].Outcome)
		require.Contains(t, report.Findings[0].Seen, "no answer within 500ms")
	})
}

func TestEveryClauseIsSeenToFail(t *testing.T) {
	t.Parallel()
	// TestBrokenConfigClauses has this one.
	seen := []string{"configure.diagnostics"}
	for _, c := range faults() {
		seen = append(seen, c.clause)
	}
	for _, c := range conformance.Clauses() {
		require.Contains(t, seen, c.ID)
		require.NotEmpty(t, c.Title)
		require.NotEmpty(t, c.Demand)
		require.Contains(t, []conformance.Severity{conformance.Must, conformance.Should}, c.Severity)
	}
}

func TestSkippedClausesSayWhy(t *testing.T) {
	t.Parallel()
	opts := options(t, "only-quick")
	opts.Spec.DisableTLS = true
	report := check(t, opts)
	require.True(t, report.Conforms(), "%v", report.Broken())
	reasons := map[string]string{}
	for _, f := range report.Findings {
		if f.Outcome == conformance.Skipped {
			require.NotEmpty(t, f.Note, f.ID)
			reasons[f.ID] = f.Note
		}
	}
	require.Contains(t, reasons["configure.invalid"], "no config schema")
	require.Contains(t, reasons["cancel.running"], "--step")
	require.Contains(t, reasons["result.emits"], "emitted")
	require.Contains(t, reasons["start.tls"], "TLS off")
}

func TestWhatCannotStartIsReportedOnce(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "plugin.sh")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\necho 'starting up'\necho 'why me' >&2\nsleep 100\n"), 0o700))
	opts := options(t, "")
	opts.Spec.Command = script
	opts.Patience = 300 * time.Millisecond
	report := check(t, opts)
	require.False(t, report.Conforms())
	var broken []string
	for _, f := range report.Findings {
		if f.Outcome == conformance.Broken {
			broken = append(broken, f.ID)
		} else {
			require.Contains(t, f.Note, "needs")
		}
	}
	require.Equal(t, []string{"start.by-hand", "start.handshake"}, broken)
	require.Contains(t, report.Findings[1].Seen, `"starting up"`)
}

// TestFaultsDoNotSpread runs all clauses against a plugin that crashes in one.
func TestFaultsDoNotSpread(t *testing.T) {
	t.Parallel()
	report := check(t, options(t, "crashes"))
	require.Len(t, report.Broken(), 1, "%v", report.Broken())
	require.Equal(t, "execute.inputs", report.Broken()[0].ID)
}

func TestSamples(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sample  conformance.Sample
		outcome conformance.Outcome
		seen    string
	}{
		"fits":         {conformance.Sample{Step: "quick", Input: []byte(`{"a":1}`)}, conformance.Kept, ""},
		"unknown step": {conformance.Sample{Step: "fly", Input: []byte(`{}`)}, conformance.Broken, "does not have it"},
		"no object":    {conformance.Sample{Step: "quick", Input: []byte(`[]`)}, conformance.Broken, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := options(t, "sound")
			opts.Only = []string{"execute.answers"}
			opts.Samples = []conformance.Sample{c.sample}
			f := check(t, opts).Findings[0]
			require.Equal(t, c.outcome, f.Outcome)
			require.Contains(t, f.Seen, c.seen)
		})
	}
}

func TestUnknownClause(t *testing.T) {
	t.Parallel()
	opts := options(t, "sound")
	opts.Only = []string{"drain.everything"}
	_, err := conformance.Check(t.Context(), opts)
	require.ErrorContains(t, err, `no clause "drain.everything"`)
}

func TestProgramThatCannotBeExecuted(t *testing.T) {
	t.Parallel()
	opts := options(t, "sound")
	opts.Spec.Command = "/no/such/plugin"
	for _, only := range [][]string{nil, {"drain.idle"}} {
		opts.Only = only
		_, err := conformance.Check(t.Context(), opts)
		var program *supervisor.ProgramError
		require.ErrorAs(t, err, &program)
	}
}

func TestCheckCanBeInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	opts := options(t, "sound")
	opts.OnFinding = func(f conformance.Finding) {
		if f.ID == "start.tls" {
			cancel()
		}
	}
	_, err := conformance.Check(ctx, opts)
	require.ErrorIs(t, err, context.Canceled)
}

func TestClauseIDsAreUnique(t *testing.T) {
	t.Parallel()
	var ids []string
	for _, c := range conformance.Clauses() {
		ids = append(ids, c.ID)
	}
	slices.Sort(ids)
	require.Len(t, slices.Compact(ids), len(conformance.Clauses()))
}
