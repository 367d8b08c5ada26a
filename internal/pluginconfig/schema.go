package pluginconfig

import (
	"bytes"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/stephost/stephost/internal/hclfile"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// maxSchemaDepth bounds what a plugin can make the host recurse into.
const maxSchemaDepth = 16

// schemaBlock is a plugin's ConfigBlock after it has been checked.
type schemaBlock struct {
	attributes []schemaAttribute
	blocks     []schemaNested
}

type schemaAttribute struct {
	name     string
	want     cty.Type // with optional attributes, for conversion
	fallback cty.Value
	required bool
	secret   bool
	duration bool
}

type schemaNested struct {
	name     string
	nesting  pluginv1.Nesting
	block    *schemaBlock
	min, max int // max 0: no limit
}

// value is the type of the block's value.
func (b *schemaBlock) value() cty.Type {
	types := map[string]cty.Type{}
	for _, a := range b.attributes {
		types[a.name] = a.want.WithoutOptionalAttributesDeep()
	}
	for _, n := range b.blocks {
		types[n.name] = n.value()
	}
	return cty.Object(types)
}

func (n schemaNested) value() cty.Type {
	switch n.nesting {
	case pluginv1.Nesting_NESTING_LIST:
		return cty.List(n.block.value())
	case pluginv1.Nesting_NESTING_MAP:
		return cty.Map(n.block.value())
	default:
		return n.block.value()
	}
}

func (b *schemaBlock) body() *hcl.BodySchema {
	schema := &hcl.BodySchema{}
	for _, a := range b.attributes {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: a.name})
	}
	for _, n := range b.blocks {
		header := hcl.BlockHeaderSchema{Type: n.name}
		if n.nesting == pluginv1.Nesting_NESTING_MAP {
			header.LabelNames = []string{"name"}
		}
		schema.Blocks = append(schema.Blocks, header)
	}
	return schema
}

// secrets gathers the names of secret attributes.
func (b *schemaBlock) secrets(into hclfile.Secrets) hclfile.Secrets {
	for _, a := range b.attributes {
		if a.secret {
			into[a.name] = true
		}
	}
	for _, n := range b.blocks {
		n.block.secrets(into)
	}
	return into
}

// CheckSchema reports what is wrong with the schema that a plugin declares: its
// names, types, defaults and nesting. Nil, the schema of a plugin without a
// config block, is right.
func CheckSchema(schema *pluginv1.ConfigBlock) error {
	if schema == nil {
		return nil
	}
	_, err := readSchema(schema, 0)
	return err
}

// readSchema checks what the plugin declared. An error is the plugin's fault.
func readSchema(schema *pluginv1.ConfigBlock, depth int) (*schemaBlock, error) {
	if schema == nil {
		return nil, fmt.Errorf("a nested block has no schema")
	}
	if depth > maxSchemaDepth {
		return nil, fmt.Errorf("blocks are nested more than %d deep", maxSchemaDepth)
	}
	b, names := &schemaBlock{}, map[string]bool{}
	declare := func(name string) error {
		if !hclsyntax.ValidIdentifier(name) {
			return fmt.Errorf("%q is not a name", name)
		}
		if names[name] {
			return fmt.Errorf("%q is declared twice", name)
		}
		names[name] = true
		return nil
	}
	for _, declared := range schema.GetAttributes() {
		if err := declare(declared.GetName()); err != nil {
			return nil, err
		}
		a, err := readAttribute(declared)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", declared.GetName(), err)
		}
		b.attributes = append(b.attributes, a)
	}
	for _, declared := range schema.GetBlocks() {
		if err := declare(declared.GetTypeName()); err != nil {
			return nil, err
		}
		n, err := readNested(declared, depth)
		if err != nil {
			return nil, fmt.Errorf("block %q: %w", declared.GetTypeName(), err)
		}
		b.blocks = append(b.blocks, n)
	}
	return b, nil
}

func readAttribute(declared *pluginv1.ConfigAttribute) (schemaAttribute, error) {
	a := schemaAttribute{
		name: declared.GetName(), required: declared.GetRequired(),
		secret: declared.GetSecret(), duration: declared.GetDuration(),
	}
	want, err := ctyjson.UnmarshalType(declared.GetType())
	if err != nil {
		return a, fmt.Errorf("bad type: %w", err)
	}
	if want.HasDynamicTypes() {
		return a, fmt.Errorf("the type must not be dynamic")
	}
	if a.duration && want != cty.String {
		return a, fmt.Errorf("a duration must have the type string")
	}
	a.want = want
	plain := want.WithoutOptionalAttributesDeep()
	a.fallback = cty.NullVal(plain)
	if len(declared.GetDefault()) == 0 {
		return a, nil
	}
	a.fallback, err = ctyjson.Unmarshal(bytes.TrimSpace(declared.GetDefault()), plain)
	if err != nil {
		return a, fmt.Errorf("bad default")
	}
	if a.duration && !a.fallback.IsNull() {
		if _, err := hclfile.ParseDuration(a.fallback.AsString()); err != nil {
			return a, fmt.Errorf("the default is not a duration")
		}
	}
	return a, nil
}

func readNested(declared *pluginv1.ConfigNestedBlock, depth int) (schemaNested, error) {
	n := schemaNested{
		name: declared.GetTypeName(), nesting: declared.GetNesting(),
		min: int(declared.GetMinItems()), max: int(declared.GetMaxItems()),
	}
	switch n.nesting {
	case pluginv1.Nesting_NESTING_SINGLE:
		n.max = 1
	case pluginv1.Nesting_NESTING_LIST, pluginv1.Nesting_NESTING_MAP:
	default:
		return n, fmt.Errorf("unknown nesting %v", n.nesting)
	}
	if n.max > 0 && n.min > n.max {
		return n, fmt.Errorf("min_items is above max_items")
	}
	var err error
	n.block, err = readSchema(declared.GetBlock(), depth+1)
	return n, err
}
