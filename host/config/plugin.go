package config

import (
	"github.com/hashicorp/hcl/v2"

	"github.com/stephost/stephost/internal/pluginconfig"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// DecodePlugin decodes the plugin's config block against the schema that the
// plugin declared; see [pluginconfig.Written.Decode].
func DecodePlugin(p Plugin, schema *pluginv1.ConfigBlock) ([]byte, hcl.Diagnostics) {
	return p.written().Decode(schema)
}

// LocatePluginDiagnostics turns a plugin's complaints about its configuration
// into diagnostics in the user's file; see [pluginconfig.Written.Locate].
func LocatePluginDiagnostics(p Plugin, schema *pluginv1.ConfigBlock, complaints []*pluginv1.Diagnostic) hcl.Diagnostics {
	return p.written().Locate(schema, complaints)
}

func (p Plugin) written() pluginconfig.Written {
	return pluginconfig.Written{
		Plugin: p.Name, Body: p.Body, Header: p.ConfigRange, Around: p.DeclRange, EvalContext: p.EvalContext,
	}
}
