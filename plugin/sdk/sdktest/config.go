package sdktest

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/stephost/stephost/internal/hclfile"
	"github.com/stephost/stephost/internal/pluginconfig"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
)

// ConfigError returns what a host prints when the user's config block is wrong:
// each complaint with file, line, column and source line, whether it comes from
// the types of C or from setup. It fails the test when the plugin starts.
func ConfigError[C any](t TB, setup func(ctx context.Context, config C) (*sdk.Plugin, error), opts ...Option) string {
	t.Helper()
	_, refused := launch(t, func(logger hclog.Logger) *sdk.Server { return sdk.NewServerWith(setup, logger) }, opts)
	if refused == "" {
		t.Fatalf("the plugin starts with this configuration")
	}
	return refused
}

// filename is what diagnostics call the snippet.
const filename = "config.hcl"

// block is the config block of a test.
type block struct {
	pluginconfig.Written
	files  map[string]*hcl.File
	syntax hcl.Diagnostics
}

func readBlock(plugin string, s settings) *block {
	src := fmt.Sprintf("plugin %q {\n}\n", plugin)
	if s.written {
		src = "config {\n" + strings.TrimPrefix(s.config, "\n") + "\n}\n"
	}
	file, syntax := hclsyntax.ParseConfig([]byte(src), filename, hcl.InitialPos)
	b := &block{files: map[string]*hcl.File{filename: file}, syntax: syntax}
	b.Plugin, b.EvalContext = plugin, hclfile.EvalContext(s.lookup)
	content, more := file.Body.Content(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
		{Type: "config"}, {Type: "plugin", LabelNames: []string{"name"}},
	}})
	b.syntax = append(b.syntax, more...)
	if len(content.Blocks) > 0 { // none where the snippet is not HCL
		found := content.Blocks[0]
		b.Header, b.Around = found.DefRange, found.DefRange
		if found.Type == "config" {
			b.Body = found.Body
		}
	}
	return b
}

// decode returns the block's value, or what the host prints.
func (b *block) decode(schema *pluginv1.ConfigBlock) (value []byte, refused string) {
	if b.syntax.HasErrors() {
		return nil, b.render(b.syntax)
	}
	value, diags := b.Decode(schema)
	return value, b.render(diags)
}

// locate returns what the host prints about the plugin's own complaints.
func (b *block) locate(schema *pluginv1.ConfigBlock, complaints []*pluginv1.Diagnostic) (refused string) {
	return b.render(b.Locate(schema, complaints))
}

// render prints errors; warnings alone do not keep a plugin from starting.
func (b *block) render(diags hcl.Diagnostics) string {
	if !diags.HasErrors() {
		return ""
	}
	var text strings.Builder
	_ = hclfile.Print(&text, diags, b.files) // a strings.Builder takes everything
	return text.String()
}
