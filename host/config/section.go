package config

import (
	"fmt"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/stephost/stephost/internal/hclfile"
)

// section is the content of one block: its attributes and the blocks in it.
// The same tables decode the file and render the effective configuration.
type section struct {
	keys   []key
	blocks []block
}

// block is a block type inside a section. Exactly one of single and labelled
// is set.
type block struct {
	name string
	// single is for a block that may occur once.
	single *section
	// labelled is for blocks with one label. once forbids a second block.
	labelled func(*hcl.Block) *section
	once     bool
	// raw takes a block whose body is decoded later.
	raw func(*hcl.Block)
}

// decoder walks a file's body along the tables and gathers every diagnostic.
type decoder struct {
	ctx   *hcl.EvalContext
	diags hcl.Diagnostics
	// ranges tells where a key's value is written, by the key's target.
	ranges map[any]hcl.Range
	// env has the targets whose value came from the environment.
	env map[any]bool
	// labels tells where the first block of a type with a label is.
	labels map[[2]string]hcl.Range
}

func (d *decoder) section(body hcl.Body, s *section) {
	schema := &hcl.BodySchema{}
	types := map[string]block{}
	for _, k := range s.keys {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: k.name, Required: k.required})
	}
	for _, b := range s.blocks {
		header := hcl.BlockHeaderSchema{Type: b.name}
		if b.labelled != nil {
			header.LabelNames = []string{"name"}
		}
		schema.Blocks = append(schema.Blocks, header)
		types[b.name] = b
	}
	content, diags := body.Content(schema)
	d.diags = append(d.diags, diags...)
	for _, k := range s.keys {
		if attr, ok := content.Attributes[k.name]; ok {
			d.key(k, attr)
		}
	}
	seen := map[string]hcl.Range{}
	for _, found := range content.Blocks {
		d.block(types[found.Type], found, seen)
	}
}

func (d *decoder) block(b block, found *hcl.Block, seen map[string]hcl.Range) {
	first, again := seen[found.Type]
	if again && (b.labelled == nil || b.once) {
		d.fail(found.DefRange, "Duplicate block", fmt.Sprintf("Only one %q block is allowed; the first one is at %s.", found.Type, place(first)))
		return
	}
	seen[found.Type] = found.DefRange
	switch {
	case b.raw != nil:
		b.raw(found)
	case b.single != nil:
		d.section(found.Body, b.single)
	default:
		label := [2]string{found.Type, found.Labels[0]}
		if first, again := d.labels[label]; again {
			d.fail(found.LabelRanges[0], fmt.Sprintf("Duplicate %s", found.Type),
				fmt.Sprintf("The %s %q is already defined at %s.", found.Type, label[1], place(first)))
		} else {
			d.labels[label] = found.LabelRanges[0]
		}
		d.section(found.Body, b.labelled(found))
	}
}

func (d *decoder) key(k key, attr *hcl.Attribute) {
	at := attr.Expr.Range()
	d.ranges[k.target] = at
	v, diags := attr.Expr.Value(d.ctx)
	d.diags = append(d.diags, diags...)
	if diags.HasErrors() {
		return
	}
	v, marks := v.UnmarkDeep()
	switch {
	case !v.IsWhollyKnown():
		// Only the parser's stand-in for a broken expression is unknown, and it
		// has been reported.
		return
	case v.IsNull():
		if k.required {
			d.fail(at, fmt.Sprintf("Missing value for %q", k.name), "The value is null, but a value is required here. An unset environment variable without a fallback is null.")
		}
		return
	}
	env := hclfile.FromEnv(marks)
	d.env[k.target] = env
	if v.Type() == cty.DynamicPseudoType {
		return
	}
	if err := k.decode(value{Value: v, env: env}); err != nil {
		d.fail(at, fmt.Sprintf("Invalid value for %q", k.name), hclfile.Sentence(err.Error()))
	}
}

func (d *decoder) fail(at hcl.Range, summary, detail string) {
	d.diags = append(d.diags, hclfile.Failure(at, summary, detail))
}

// at tells where the target's value is written, or the fallback when it is
// not.
func (d *decoder) at(target any, fallback hcl.Range) hcl.Range {
	if r, ok := d.ranges[target]; ok {
		return r
	}
	return fallback
}

// quote shows a value in a detail, unless it came from the environment: the
// variable may be a secret that was put into the wrong key.
func (d *decoder) quote(target *string) string {
	if d.env[target] {
		return "(from the environment)"
	}
	return strconv.Quote(*target)
}

func place(r hcl.Range) string { return fmt.Sprintf("line %d", r.Start.Line) }
