package pluginconfig

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/stephost/stephost/internal/hclfile"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Written is a plugin's config block as it stands in the user's file.
type Written struct {
	// Plugin is the name that the file gives the plugin.
	Plugin string
	// Body is the undecoded block; nil means that there is none.
	Body hcl.Body
	// Header is where the block starts. Around is where the plugin block around
	// it starts: what is wrong is shown there where no config block is written.
	Header, Around hcl.Range
	// EvalContext is what expressions in the block see.
	EvalContext *hcl.EvalContext
}

// Decode decodes the block against the schema that the plugin declared, fills
// in its defaults and returns the value as JSON of the type that the schema
// implies. Without a schema the JSON is nil. The JSON has secrets in the clear;
// the diagnostics have none.
func (w Written) Decode(schema *pluginv1.ConfigBlock) ([]byte, hcl.Diagnostics) {
	if schema == nil {
		if w.Body == nil {
			return nil, nil
		}
		return nil, hcl.Diagnostics{hclfile.Failure(w.Header, "Plugin takes no configuration",
			fmt.Sprintf("The plugin %q declares no configuration. Remove the config block.", w.Plugin))}
	}
	block, err := readSchema(schema, 0)
	if err != nil {
		return nil, w.badSchema(err)
	}
	d := &decoder{ctx: w.EvalContext}
	body, at := w.Body, w.Header
	if body == nil {
		body, at = hcl.EmptyBody(), w.Around
	}
	v := d.body(body, at, block)
	secrets := block.secrets(hclfile.Secrets{})
	for _, diag := range d.diags {
		diag.Extra = secrets
	}
	if d.diags.HasErrors() {
		return nil, hclfile.Tidy(d.diags)
	}
	encoded, err := ctyjson.Marshal(v, block.value())
	if err != nil {
		return nil, w.badSchema(fmt.Errorf("the value has no JSON form"))
	}
	return encoded, hclfile.Tidy(d.diags)
}

func (w Written) badSchema(err error) hcl.Diagnostics {
	return hcl.Diagnostics{hclfile.Failure(w.Around, "Plugin declares a broken schema",
		fmt.Sprintf("The fault is in the plugin %q, not in this file: %v.", w.Plugin, err))}
}

// decoder gathers every diagnostic of one config block. It returns a
// value of the schema's type also where there are errors.
type decoder struct {
	ctx   *hcl.EvalContext
	diags hcl.Diagnostics
}

func (d *decoder) body(body hcl.Body, at hcl.Range, schema *schemaBlock) cty.Value {
	content, diags := body.Content(schema.body())
	d.diags = append(d.diags, diags...)
	values := map[string]cty.Value{}
	for _, a := range schema.attributes {
		values[a.name] = d.attribute(content.Attributes[a.name], at, a)
	}
	for _, n := range schema.blocks {
		values[n.name] = d.nested(content.Blocks.OfType(n.name), at, n)
	}
	return cty.ObjectVal(values)
}

func (d *decoder) attribute(attr *hcl.Attribute, block hcl.Range, a schemaAttribute) cty.Value {
	null := cty.NullVal(a.want.WithoutOptionalAttributesDeep())
	if attr == nil {
		if a.required {
			d.fail(block, "Missing required argument", fmt.Sprintf("The plugin needs a value for %q.", a.name))
		}
		return a.fallback
	}
	at := attr.Expr.Range()
	v, diags := attr.Expr.Value(d.ctx)
	d.diags = append(d.diags, diags...)
	if diags.HasErrors() {
		return null
	}
	v, marks := v.UnmarkDeep()
	invalid := fmt.Sprintf("Invalid value for %q", a.name)
	if !v.IsWhollyKnown() {
		d.fail(at, invalid, "The value is not known while the file is read.")
		return null
	}
	if v.IsNull() {
		if a.required {
			d.fail(at, fmt.Sprintf("Missing value for %q", a.name), "The value is null, but the plugin needs one. An unset environment variable without a fallback is null.")
		}
		return a.fallback
	}
	converted, err := convertTo(v, a.want)
	if err != nil {
		detail := hclfile.Sentence(err.Error())
		if len(marks) > 0 || a.secret {
			detail = fmt.Sprintf("The value cannot be read as %s.", err.want.FriendlyName())
		}
		d.fail(locateExpr(attr.Expr, err.path), invalid, detail)
		return null
	}
	if a.duration {
		if _, err := hclfile.ParseDuration(converted.AsString()); err != nil {
			d.fail(at, invalid, hclfile.Sentence(err.Error()))
		}
	}
	return converted
}

func (d *decoder) nested(found hcl.Blocks, at hcl.Range, n schemaNested) cty.Value {
	if len(found) < n.min {
		d.fail(at, fmt.Sprintf("Too few %q blocks", n.name), fmt.Sprintf("The plugin needs at least %d.", n.min))
	}
	if n.max > 0 && len(found) > n.max {
		d.fail(found[n.max].DefRange, fmt.Sprintf("Too many %q blocks", n.name), fmt.Sprintf("The plugin takes at most %d.", n.max))
	}
	var list []cty.Value
	byLabel := map[string]cty.Value{}
	for _, b := range found {
		v := d.body(b.Body, b.DefRange, n.block)
		list = append(list, v)
		if n.nesting != pluginv1.Nesting_NESTING_MAP {
			continue
		}
		if _, again := byLabel[b.Labels[0]]; again {
			d.fail(b.LabelRanges[0], "Duplicate block", fmt.Sprintf("There is another %q block with this label.", n.name))
		}
		byLabel[b.Labels[0]] = v
	}
	switch {
	case len(list) == 0 && n.nesting == pluginv1.Nesting_NESTING_LIST:
		return cty.ListValEmpty(n.block.value())
	case len(list) == 0 && n.nesting == pluginv1.Nesting_NESTING_MAP:
		return cty.MapValEmpty(n.block.value())
	case len(list) == 0:
		return cty.NullVal(n.block.value())
	case n.nesting == pluginv1.Nesting_NESTING_LIST:
		return cty.ListVal(list)
	case n.nesting == pluginv1.Nesting_NESTING_MAP:
		return cty.MapVal(byLabel)
	default:
		return list[0]
	}
}

func (d *decoder) fail(at hcl.Range, summary, detail string) {
	d.diags = append(d.diags, hclfile.Failure(at, summary, detail))
}
