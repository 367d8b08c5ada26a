package config

import (
	"os"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"

	"github.com/stephost/stephost/internal/hclfile"
)

// Block is the source of a config block's body, for a plugin that no
// configuration file declares.
type Block struct {
	// Filename is for diagnostics.
	Filename string
	Src      []byte
	// JSON says that Src is a JSON object rather than HCL.
	JSON bool
}

// StandalonePlugin returns a plugin that no file declares, with the defaults of
// one that does, and a configuration that holds it alone. command is an
// absolute path; block is nil where there is no config block.
func StandalonePlugin(name, command string, args []string, block *Block) (*Config, hcl.Diagnostics) {
	p := defaultPlugin(name)
	p.Command, p.Args = command, args
	cfg := defaults()
	cfg.Files = map[string]*hcl.File{}
	if block == nil {
		cfg.Plugins = []Plugin{*p}
		return &cfg, nil
	}
	var (
		file  *hcl.File
		diags hcl.Diagnostics
	)
	if block.JSON {
		file, diags = hcljson.Parse(block.Src, block.Filename)
	} else {
		file, diags = hclsyntax.ParseConfig(block.Src, block.Filename, hcl.InitialPos)
		p.EvalContext = hclfile.EvalContext(os.LookupEnv)
	}
	cfg.Files[block.Filename] = file
	if diags.HasErrors() {
		return &cfg, diags
	}
	start := hcl.Range{Filename: block.Filename, Start: hcl.InitialPos, End: hcl.InitialPos}
	p.Body, p.ConfigRange, p.DeclRange, p.CommandRange = file.Body, start, start, start
	cfg.Plugins = []Plugin{*p}
	return &cfg, diags
}
