package config

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// DecodePlugin decodes the plugin's config block against the schema that the
// plugin declared, fills in its defaults and returns the value as JSON of the
// type that the schema implies. Without a schema the JSON is nil. The JSON has
// secrets in the clear; the diagnostics have none.
func DecodePlugin(p Plugin, schema *pluginv1.ConfigBlock) ([]byte, hcl.Diagnostics) {
	if schema == nil {
		if p.Body == nil {
			return nil, nil
		}
		return nil, hcl.Diagnostics{failure(p.ConfigRange, "Plugin takes no configuration",
			fmt.Sprintf("The plugin %q declares no configuration. Remove the config block.", p.Name))}
	}
	block, err := readSchema(schema, 0)
	if err != nil {
		return nil, badSchema(p, err)
	}
	d := &pluginDecoder{ctx: p.EvalContext}
	body, at := p.Body, p.ConfigRange
	if body == nil {
		body, at = hcl.EmptyBody(), p.DeclRange
	}
	v := d.body(body, at, block)
	secrets := block.secrets(secretNames{})
	for _, diag := range d.diags {
		diag.Extra = secrets
	}
	if d.diags.HasErrors() {
		return nil, tidy(d.diags)
	}
	encoded, err := ctyjson.Marshal(v, block.value())
	if err != nil {
		return nil, badSchema(p, fmt.Errorf("the value has no JSON form"))
	}
	return encoded, tidy(d.diags)
}

func badSchema(p Plugin, err error) hcl.Diagnostics {
	return hcl.Diagnostics{failure(p.DeclRange, "Plugin declares a broken schema",
		fmt.Sprintf("The fault is in the plugin %q, not in this file: %v.", p.Name, err))}
}

// pluginDecoder gathers every diagnostic of one config block. It returns a
// value of the schema's type also where there are errors.
type pluginDecoder struct {
	ctx   *hcl.EvalContext
	diags hcl.Diagnostics
}

func (d *pluginDecoder) body(body hcl.Body, at hcl.Range, schema *pluginBlock) cty.Value {
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

func (d *pluginDecoder) attribute(attr *hcl.Attribute, block hcl.Range, a pluginAttribute) cty.Value {
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
	converted, err := convert.Convert(v, a.want)
	if err != nil {
		detail := sentence(err.Error())
		if len(marks) > 0 || a.secret {
			detail = fmt.Sprintf("The value cannot be read as %s.", a.want.FriendlyName())
		}
		d.fail(at, invalid, detail)
		return null
	}
	if a.duration {
		if _, err := parseDuration(converted.AsString()); err != nil {
			d.fail(at, invalid, sentence(err.Error()))
		}
	}
	return converted
}

func (d *pluginDecoder) nested(found hcl.Blocks, at hcl.Range, n pluginNested) cty.Value {
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

func (d *pluginDecoder) fail(at hcl.Range, summary, detail string) {
	d.diags = append(d.diags, failure(at, summary, detail))
}
