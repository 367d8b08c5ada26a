package host

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/config"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// TestWarningsOfAPluginAreLoggedOnce has what the Go SDK cannot say yet: a
// complaint that is no error.
func TestWarningsOfAPluginAreLoggedOnce(t *testing.T) {
	t.Parallel()
	cfg, diags := config.Parse("test.hcl", []byte(`
queue "pgmq" {
  dsn = "postgres://localhost"
}
plugin "orders" {
  command = "/bin/true"
  config {
    currency = "DEM"
  }
}
namespace "orders" {
  plugin = "orders"
}`))
	require.False(t, diags.HasErrors(), diags.Error())
	var log bytes.Buffer
	binder := &configBinder{plugin: cfg.Plugins[0], files: cfg.Files, log: hclog.New(&hclog.LoggerOptions{Output: &log})}
	complain := func(severity pluginv1.Severity) error {
		_, err := binder.configure(t.Context(), &pluginv1.DescribeResponse{Config: &pluginv1.ConfigBlock{
			Attributes: []*pluginv1.ConfigAttribute{{Name: "currency", Type: []byte(`"string"`)}},
		}})
		require.NoError(t, err)
		return binder.diagnose([]*pluginv1.Diagnostic{{
			Severity: severity, Summary: "DEM is no more", Path: []*pluginv1.PathStep{{Selector: &pluginv1.PathStep_Attribute{Attribute: "currency"}}},
		}})
	}
	for range 3 { // each instance complains at each start
		require.NoError(t, complain(pluginv1.Severity_SEVERITY_WARNING))
	}
	require.Equal(t, 1, strings.Count(log.String(), "DEM is no more"), log.String())
	require.Contains(t, log.String(), "test.hcl:8")
	require.Contains(t, log.String(), "[WARN]")
	require.Error(t, complain(pluginv1.Severity_SEVERITY_ERROR))
	require.Equal(t, 1, strings.Count(log.String(), "DEM is no more"))
}
