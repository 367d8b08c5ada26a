package config_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/config"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// A plugin's block is read where it stands in the file, with the file's
// environment; package pluginconfig has the tests of the reading itself.
func TestPluginsBlockIsReadInItsFile(t *testing.T) {
	t.Parallel()
	cfg, diags := config.Parse("p.hcl", []byte(`plugin "p" {
  command = "/p"
  config {
    key  = env("SECRET")
    size = 1
  }
}
plugin "q" {
  command = "/q"
}`), append(testOptions(), config.WithFileChecks(false))...)
	require.Empty(t, diags)
	schema := &pluginv1.ConfigBlock{Attributes: []*pluginv1.ConfigAttribute{
		{Name: "key", Type: []byte(`"string"`), Secret: true},
		{Name: "size", Type: []byte(`"number"`), Required: true},
	}}
	value, diags := config.DecodePlugin(cfg.Plugins[0], schema)
	require.Empty(t, diags)
	require.JSONEq(t, `{"key": "hunter2", "size": 1}`, string(value))

	complaint := []*pluginv1.Diagnostic{{Summary: "Too small", Path: []*pluginv1.PathStep{
		{Selector: &pluginv1.PathStep_Attribute{Attribute: "size"}},
	}}}
	var printed bytes.Buffer
	require.NoError(t, config.Print(&printed, config.LocatePluginDiagnostics(cfg.Plugins[0], schema, complaint), cfg.Files))
	require.Equal(t, "Error: Too small\n  on p.hcl:5,12\n   5 |     size = 1\n     |            ^\n", printed.String())

	_, diags = config.DecodePlugin(cfg.Plugins[1], schema)
	require.Len(t, diags, 1)
	require.Equal(t, 8, diags[0].Subject.Start.Line)
	require.Contains(t, diags[0].Detail, `"size"`)
}
