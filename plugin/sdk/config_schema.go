package sdk

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// configBlock is what reflection found out about a struct that stands for the
// body of a block.
type configBlock struct {
	typ    reflect.Type
	attrs  []configAttr
	blocks []configNested
	// label is the index of the field that takes the block's label, or nil.
	label []int
}

// configAttr is a field that stands for an attribute.
type configAttr struct {
	name        string
	description string
	index       []int
	typ         reflect.Type
	required    bool
	defaultJSON json.RawMessage // nil: null
}

// configNested is a field that stands for a nested block.
type configNested struct {
	name  string
	index []int
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
	if b.label != nil {
		panic(fmt.Sprintf("sdk: config field %s.%s: the config block has no label", where, typ.FieldByIndex(b.label).Name))
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
	b := &configBlock{typ: typ}
	b.addFields(typ, where, nil, map[string]string{}, outer)
	return b
}

// addFields reads the fields of a struct into the block: the block's own, or
// one that is embedded in it. index leads to the struct, names has what is
// taken.
func (b *configBlock) addFields(typ reflect.Type, where string, index []int, names map[string]string, outer []reflect.Type) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		at := where + "." + f.Name
		to := append(index[:len(index):len(index)], i)
		field, tagged := parseTag(f, at)
		if !tagged {
			if f.Anonymous {
				b.addEmbedded(f, at, to, names, outer)
			}
			continue
		}
		if other, taken := names[field.name]; taken && !field.label {
			panic(fmt.Sprintf("sdk: config field %s: name %q is taken by %s", at, field.name, other))
		}
		if !field.label {
			names[field.name] = at
		}
		switch {
		case field.label:
			b.setLabel(to, f, at)
		case field.block:
			b.blocks = append(b.blocks, buildNested(field.name, to, f, at, outer))
		default:
			b.attrs = append(b.attrs, buildAttr(field, to, f, at))
		}
	}
}

// addEmbedded reads an embedded struct as if its fields stood here. What has no
// tags in it is the plugin's own.
func (b *configBlock) addEmbedded(f reflect.StructField, at string, index []int, names map[string]string, outer []reflect.Type) {
	switch typ := f.Type; {
	case typ.Kind() == reflect.Struct:
		b.addFields(typ, at, index, names, outer)
	case typ.Kind() == reflect.Pointer && hasTags(typ.Elem(), 0):
		panic(fmt.Sprintf("sdk: config field %s: embed the struct itself, not a pointer to it", at))
	}
}

// hasTags reports whether a struct has a field with an hcl tag.
func hasTags(typ reflect.Type, depth int) bool {
	if typ.Kind() != reflect.Struct || depth > maxTypeDepth {
		return false
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		if _, tagged := f.Tag.Lookup("hcl"); tagged || f.Anonymous && hasTags(indirect(f.Type), depth+1) {
			return true
		}
	}
	return false
}

// parseTag reads a field's `hcl` tag.
func parseTag(f reflect.StructField, at string) (configField, bool) {
	tag, tagged := f.Tag.Lookup("hcl")
	if !tagged {
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

func (b *configBlock) setLabel(index []int, f reflect.StructField, at string) {
	if b.label != nil {
		panic(fmt.Sprintf("sdk: config field %s: a block has at most one label", at))
	}
	if f.Type.Kind() != reflect.String {
		panic(fmt.Sprintf("sdk: config field %s: a label is a string, not %s", at, f.Type))
	}
	b.label = index
}

func buildAttr(field configField, index []int, f reflect.StructField, at string) configAttr {
	if reason := unsupported(f.Type, 0); reason != "" {
		panic(fmt.Sprintf("sdk: config field %s: %s", at, reason))
	}
	a := configAttr{
		name:        field.name,
		description: f.Tag.Get("description"),
		index:       index,
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

func buildNested(name string, index []int, f reflect.StructField, at string, outer []reflect.Type) configNested {
	if _, hasDefault := f.Tag.Lookup("default"); hasDefault {
		panic(fmt.Sprintf("sdk: config field %s: a block has no default; its attributes may", at))
	}
	n := configNested{name: name, index: index}
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
	if n.block.label != nil {
		if n.shape != shapeSlice {
			panic(fmt.Sprintf("sdk: config field %s: a block with a label goes into a slice", at))
		}
		n.shape = shapeLabelled
	}
	return n
}
