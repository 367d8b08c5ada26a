package exampletest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/conformance"
	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/host/supervisor/shim"
)

// Build builds the plugin of the current directory and returns its path.
func Build(t testing.TB) string {
	t.Helper()
	plugin := filepath.Join(t.TempDir(), "plugin")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", plugin, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return plugin
}

// Conforms demands that a plugin keeps every clause of the conformance kit, as
// `stephost plugin check` does, the shoulds too. It works for a program in any
// language: spec.Command is its absolute path (an interpreter, say) and
// spec.Args what follows; spec.Env, spec.DisableTLS and spec.Configure are
// optional. Steps are run with the input {} unless a sample says otherwise; add
// a sample of a step that runs for about a second, so that the clauses about
// cancellation, time-outs and drain apply. The report is returned to look
// into. The test's TestMain must be [Main].
func Conforms(t testing.TB, spec supervisor.Spec, samples ...conformance.Sample) *conformance.Report {
	t.Helper()
	if spec.Name == "" {
		spec.Name = filepath.Base(spec.Command)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	report, err := conformance.Check(ctx, conformance.Options{
		Spec: spec,
		Deps: supervisor.Deps{
			Logger: hclog.NewNullLogger(), Shim: []string{os.Args[0], shim.Command}, HostVersion: "test",
		},
		Samples: samples,
	})
	require.NoError(t, err)
	for _, broken := range report.Broken() {
		// A busy machine makes every start slow.
		if broken.ID == "start.time" {
			continue
		}
		t.Errorf("%v\n%v", broken, broken.Stderr)
	}
	return report
}
