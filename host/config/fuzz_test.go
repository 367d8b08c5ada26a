package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/config"
)

// FuzzParse: every file is either a configuration or a list of errors that say
// where; no secret is in what is printed.
func FuzzParse(f *testing.F) {
	inputs, err := filepath.Glob("testdata/diagnostics/*.hcl")
	require.NoError(f, err)
	for _, input := range append(inputs, "../../config.hcl") {
		src, err := os.ReadFile(input)
		require.NoError(f, err)
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		src = bytes.ReplaceAll(src, []byte(hidden), nil)
		cfg, diags := config.Parse("fuzz.hcl", src, testOptions()...)
		require.NotNil(t, cfg)
		for _, diag := range diags {
			require.NotEmpty(t, diag.Summary)
			if diag.Severity != hcl.DiagError {
				continue
			}
			require.NotNil(t, diag.Subject, diag.Summary)
			require.Equal(t, "fuzz.hcl", diag.Subject.Filename)
			require.GreaterOrEqual(t, diag.Subject.Start.Line, 1)
			require.LessOrEqual(t, diag.Subject.End.Byte, len(src), diag.Summary)
		}
		require.NotContains(t, printed(t, "fuzz.hcl", src), hidden)
		if !diags.HasErrors() {
			// What is in force is compared with what a reload reads: with itself it
			// is the same.
			again, more := config.Parse("fuzz.hcl", src, testOptions()...)
			require.Empty(t, more.Errs())
			require.Equal(t, config.Diff{}, config.Compare(cfg, again))
		}
	})
}
