package pluginconfig

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/stephost/stephost/internal/hclfile"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Locate turns a plugin's complaints about its configuration into diagnostics
// in the user's file: at the attribute or block that the path names, else at
// the innermost block that is written, else at the plugin block.
func (w Written) Locate(schema *pluginv1.ConfigBlock, complaints []*pluginv1.Diagnostic) hcl.Diagnostics {
	block, err := readSchema(schema, 0)
	if err != nil {
		block = &schemaBlock{}
	}
	secrets := block.secrets(hclfile.Secrets{})
	var diags hcl.Diagnostics
	for _, c := range complaints {
		at := w.Around
		if w.Body != nil {
			at = locateBody(w.Body, w.Header, block, c.GetPath())
		}
		diag := hclfile.Failure(at, c.GetSummary(), c.GetDetail())
		if c.GetSeverity() == pluginv1.Severity_SEVERITY_WARNING {
			diag.Severity = hcl.DiagWarning
		}
		if diag.Summary == "" {
			diag.Summary = "The plugin refuses its configuration"
		}
		diag.Extra = secrets
		diags = append(diags, diag)
	}
	return hclfile.Tidy(diags)
}

func locateBody(body hcl.Body, at hcl.Range, schema *schemaBlock, path []*pluginv1.PathStep) hcl.Range {
	if len(path) == 0 {
		return at
	}
	content, _, _ := body.PartialContent(schema.body())
	name, path := path[0].GetAttribute(), path[1:]
	if attr, ok := content.Attributes[name]; ok {
		return locateExpr(attr.Expr, path)
	}
	for _, n := range schema.blocks {
		found := content.Blocks.OfType(n.name)
		if n.name != name || len(found) == 0 {
			continue
		}
		if n.nesting == pluginv1.Nesting_NESTING_SINGLE {
			return locateBody(found[0].Body, found[0].DefRange, n.block, path)
		}
		if len(path) == 0 {
			return found[0].DefRange
		}
		for i, b := range found {
			if selects(path[0], i, b) {
				return locateBody(b.Body, b.DefRange, n.block, path[1:])
			}
		}
	}
	return at
}

func selects(step *pluginv1.PathStep, i int, b *hcl.Block) bool {
	switch s := step.GetSelector().(type) {
	case *pluginv1.PathStep_Index:
		return s.Index == int64(i)
	case *pluginv1.PathStep_Key:
		return len(b.Labels) > 0 && b.Labels[0] == s.Key
	default:
		return false
	}
}

// locateExpr follows the path into list and object constructors as far as they
// are written out.
func locateExpr(expr hcl.Expression, path []*pluginv1.PathStep) hcl.Range {
	if len(path) == 0 {
		return expr.Range()
	}
	switch s := path[0].GetSelector().(type) {
	case *pluginv1.PathStep_Index:
		items, diags := hcl.ExprList(expr)
		if !diags.HasErrors() && s.Index >= 0 && s.Index < int64(len(items)) {
			return locateExpr(items[s.Index], path[1:])
		}
	case *pluginv1.PathStep_Key:
		return locateItem(expr, s.Key, path[1:])
	case *pluginv1.PathStep_Attribute:
		return locateItem(expr, s.Attribute, path[1:])
	}
	return expr.Range()
}

func locateItem(expr hcl.Expression, name string, path []*pluginv1.PathStep) hcl.Range {
	items, diags := hcl.ExprMap(expr)
	if diags.HasErrors() {
		return expr.Range()
	}
	for _, item := range items {
		if key, diags := item.Key.Value(nil); !diags.HasErrors() && isText(key, name) {
			return locateExpr(item.Value, path)
		}
	}
	return expr.Range()
}

func isText(v cty.Value, want string) bool {
	return v.Type() == cty.String && v.IsKnown() && !v.IsNull() && !v.IsMarked() && v.AsString() == want
}
