package sdk

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// configBlock is what reflection found out about a struct that stands for the
// body of a block.
type configBlock struct {
	typ    reflect.Type
	attrs  []configAttr
	blocks []configNested
	// label is the index of the field that takes the block's label, or -1.
	label int
}

// configAttr is a field that stands for an attribute.
type configAttr struct {
	name        string
	description string
	index       int
	typ         reflect.Type
	required    bool
	defaultJSON json.RawMessage // nil: null
}

// configNested is a field that stands for a nested block.
type configNested struct {
	name  string
	index int
	shape nestedShape
	block *configBlock
}

// nestedShape is how a field holds nested blocks.
type nestedShape int

const (
	shapeStruct   nestedShape = iota // T: one block, or T's defaults
	shapePointer                     // *T: one block or nil
	shapeSlice                       // []T: any number
	shapeMap                         // map[string]T: any number, by label
	shapeLabelled                    // []T where T has a label field
)

// configField is a parsed `hcl` tag.
type configField struct {
	name     string
	optional bool
	block    bool
	label    bool
}

// schemaOf returns the schema of a config struct, or nil if it has no tagged
// field. It panics on a struct that cannot be a config block, naming the
// field: that is a mistake in the program and shows at its start.
func schemaOf(typ reflect.Type) *configBlock {
	if typ.Kind() != reflect.Struct {
		panic(fmt.Sprintf("sdk: config must be a struct, not %s", typ))
	}
	where := cmp.Or(typ.Name(), "struct")
	b := buildBlock(typ, where, nil)
	if b.label >= 0 {
		panic(fmt.Sprintf("sdk: config field %s.%s: the config block has no label", where, typ.Field(b.label).Name))
	}
	if len(b.attrs) == 0 && len(b.blocks) == 0 {
		return nil
	}
	return b
}

// buildBlock reads one struct. where names it in panics; outer are the structs
// around it, to detect one that contains itself.
func buildBlock(typ reflect.Type, where string, outer []reflect.Type) *configBlock {
	for _, o := range outer {
		if o == typ {
			panic(fmt.Sprintf("sdk: config field %s: %s contains itself", where, typ))
		}
	}
	outer = append(outer[:len(outer):len(outer)], typ)
	b := &configBlock{typ: typ, label: -1}
	names := map[string]string{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		at := where + "." + f.Name
		field, tagged := parseTag(f, at)
		if !tagged {
			continue
		}
		if other, taken := names[field.name]; taken && !field.label {
			panic(fmt.Sprintf("sdk: config field %s: name %q is taken by %s", at, field.name, other))
		}
		names[field.name] = at
		switch {
		case field.label:
			b.setLabel(i, f, at)
		case field.block:
			b.blocks = append(b.blocks, buildNested(field.name, i, f, at, outer))
		default:
			b.attrs = append(b.attrs, buildAttr(field, i, f, at))
		}
	}
	return b
}

// parseTag reads a field's `hcl` tag.
func parseTag(f reflect.StructField, at string) (configField, bool) {
	tag, tagged := f.Tag.Lookup("hcl")
	if !tagged {
		if f.Anonymous {
			panic(fmt.Sprintf("sdk: config field %s: embedded structs are not supported; list its fields here", at))
		}
		return configField{}, false
	}
	if !f.IsExported() {
		panic(fmt.Sprintf("sdk: config field %s: is not exported", at))
	}
	name, kinds, _ := strings.Cut(tag, ",")
	field := configField{name: name}
	for kind := range strings.SplitSeq(kinds, ",") {
		switch kind {
		case "", "attr":
		case "optional":
			field.optional = true
		case "block":
			field.block = true
		case "label":
			field.label = true
		default:
			panic(fmt.Sprintf("sdk: config field %s: unknown kind %q in its hcl tag", at, kind))
		}
	}
	if field.name == "" && !field.label {
		panic(fmt.Sprintf("sdk: config field %s: its hcl tag has no name", at))
	}
	if !field.label && !isIdentifier(field.name) {
		panic(fmt.Sprintf("sdk: config field %s: %q cannot be a name in HCL", at, field.name))
	}
	return field, true
}

// isIdentifier reports whether a name can be written in an HCL file.
func isIdentifier(name string) bool {
	for i, r := range name {
		if !unicode.IsLetter(r) && (i == 0 && r != '_' || !unicode.IsDigit(r) && r != '_' && r != '-') {
			return false
		}
	}
	return true
}

func (b *configBlock) setLabel(i int, f reflect.StructField, at string) {
	if b.label >= 0 {
		panic(fmt.Sprintf("sdk: config field %s: a block has at most one label", at))
	}
	if f.Type.Kind() != reflect.String {
		panic(fmt.Sprintf("sdk: config field %s: a label is a string, not %s", at, f.Type))
	}
	b.label = i
}

func buildAttr(field configField, i int, f reflect.StructField, at string) configAttr {
	if reason := unsupported(f.Type, 0); reason != "" {
		panic(fmt.Sprintf("sdk: config field %s: %s", at, reason))
	}
	a := configAttr{
		name:        field.name,
		description: f.Tag.Get("description"),
		index:       i,
		typ:         f.Type,
	}
	text, hasDefault := f.Tag.Lookup("default")
	if hasDefault {
		a.defaultJSON = parseDefault(f.Type, text, at)
	}
	a.required = !field.optional && !hasDefault && f.Type.Kind() != reflect.Pointer
	return a
}

// parseDefault turns a `default` tag into JSON and checks that it fits.
// Strings are written as they are, everything else as JSON.
func parseDefault(typ reflect.Type, text, at string) json.RawMessage {
	raw := json.RawMessage(text)
	switch elem := indirect(typ); {
	case elem == durationType, elem == secretType, elem.Kind() == reflect.String:
		raw, _ = json.Marshal(text)
	}
	if !json.Valid(raw) {
		panic(fmt.Sprintf("sdk: config field %s: default %q is not JSON", at, text))
	}
	var d configDecoder
	d.value(nil, raw, reflect.New(typ).Elem())
	if len(d.errors) > 0 {
		panic(fmt.Sprintf("sdk: config field %s: default %q: %s", at, text, d.errors[0].GetDetail()))
	}
	return raw
}

func buildNested(name string, i int, f reflect.StructField, at string, outer []reflect.Type) configNested {
	if _, hasDefault := f.Tag.Lookup("default"); hasDefault {
		panic(fmt.Sprintf("sdk: config field %s: a block has no default; its attributes may", at))
	}
	n := configNested{name: name, index: i}
	elem := f.Type
	switch f.Type.Kind() {
	case reflect.Struct:
		n.shape = shapeStruct
	case reflect.Pointer:
		n.shape, elem = shapePointer, elem.Elem()
	case reflect.Slice:
		n.shape, elem = shapeSlice, elem.Elem()
	case reflect.Map:
		if elem.Key().Kind() != reflect.String {
			panic(fmt.Sprintf("sdk: config field %s: blocks by label need a map[string]T", at))
		}
		n.shape, elem = shapeMap, elem.Elem()
	}
	if elem.Kind() != reflect.Struct || elem == secretType {
		panic(fmt.Sprintf("sdk: config field %s: a block is a struct, or a pointer to, slice or map of one; not %s", at, f.Type))
	}
	n.block = buildBlock(elem, at, outer)
	if n.block.label >= 0 {
		if n.shape != shapeSlice {
			panic(fmt.Sprintf("sdk: config field %s: a block with a label goes into a slice", at))
		}
		n.shape = shapeLabelled
	}
	return n
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	secretType   = reflect.TypeFor[Secret]()
)

// indirect strips one pointer.
func indirect(typ reflect.Type) reflect.Type {
	if typ.Kind() == reflect.Pointer {
		return typ.Elem()
	}
	return typ
}

// maxTypeDepth is more than any attribute needs, and ends the search in a type
// that contains itself, like type T []T.
const maxTypeDepth = 16

// unsupported says why a type cannot be an attribute's, or "".
func unsupported(typ reflect.Type, depth int) string {
	if typ == secretType {
		return ""
	}
	if depth > maxTypeDepth {
		return fmt.Sprintf("type %s is nested too deeply", typ)
	}
	switch typ.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return ""
	case reflect.Pointer:
		if typ.Elem().Kind() == reflect.Pointer {
			break
		}
		return unsupported(typ.Elem(), depth+1)
	case reflect.Slice:
		if typ.Elem().Kind() == reflect.Uint8 {
			return "type []byte is not supported; use string"
		}
		return unsupported(typ.Elem(), depth+1)
	case reflect.Map:
		if typ.Key().Kind() != reflect.String {
			return fmt.Sprintf("type %s is not supported: map keys are strings", typ)
		}
		return unsupported(typ.Elem(), depth+1)
	case reflect.Struct:
		return fmt.Sprintf("type %s is not supported for an attribute; a nested struct needs a tag like `hcl:\"name,block\"`", typ)
	}
	return fmt.Sprintf("type %s is not supported", typ)
}

// wireType writes a type in cty's JSON notation.
func wireType(typ reflect.Type) string {
	if typ == secretType || typ == durationType {
		return `"string"`
	}
	switch typ.Kind() {
	case reflect.String:
		return `"string"`
	case reflect.Bool:
		return `"bool"`
	case reflect.Pointer:
		return wireType(typ.Elem())
	case reflect.Slice:
		return `["list",` + wireType(typ.Elem()) + `]`
	case reflect.Map:
		return `["map",` + wireType(typ.Elem()) + `]`
	default:
		return `"number"`
	}
}

// holdsSecret reports whether a secret is anywhere inside a type.
func holdsSecret(typ reflect.Type) bool {
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return holdsSecret(typ.Elem())
	default:
		return typ == secretType
	}
}

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
