package sdk

import pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"

// wire returns the schema as the host reads it.
func (b *configBlock) wire() *pluginv1.ConfigBlock {
	if b == nil {
		return nil
	}
	out := &pluginv1.ConfigBlock{}
	for _, a := range b.attrs {
		out.Attributes = append(out.Attributes, &pluginv1.ConfigAttribute{
			Name:        a.name,
			Type:        []byte(wireType(a.typ)),
			Required:    a.required,
			Default:     a.defaultJSON,
			Secret:      holdsSecret(a.typ),
			Description: a.description,
			Duration:    indirect(a.typ) == durationType,
		})
	}
	for _, n := range b.blocks {
		nested := &pluginv1.ConfigNestedBlock{TypeName: n.name, Block: n.block.wire()}
		switch n.shape {
		case shapeStruct:
			nested.Nesting, nested.MaxItems = pluginv1.Nesting_NESTING_SINGLE, 1
			if n.block.needsBody() {
				nested.MinItems = 1
			}
		case shapePointer:
			nested.Nesting, nested.MaxItems = pluginv1.Nesting_NESTING_SINGLE, 1
		case shapeSlice:
			nested.Nesting = pluginv1.Nesting_NESTING_LIST
		case shapeMap, shapeLabelled:
			nested.Nesting = pluginv1.Nesting_NESTING_MAP
		}
		out.Blocks = append(out.Blocks, nested)
	}
	return out
}

// needsBody reports whether a block must be written because something inside
// it is required.
func (b *configBlock) needsBody() bool {
	for _, a := range b.attrs {
		if a.required {
			return true
		}
	}
	for _, n := range b.blocks {
		if n.shape == shapeStruct && n.block.needsBody() {
			return true
		}
	}
	return false
}
