package sdk

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/stretchr/testify/require"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
	"pgregory.net/rapid"

	"github.com/stephost/stephost/internal/hclfile"
	"github.com/stephost/stephost/internal/pluginconfig"
)

// These tests take any struct that can be a config, write a value of it as a
// user would, and read that back with the host's decoder and the plugin's.

// configTypes makes structs that can be the body of a block.
func configTypes(depth int) *rapid.Generator[reflect.Type] {
	return rapid.Custom(func(t *rapid.T) reflect.Type {
		var fields []reflect.StructField
		for i := range rapid.IntRange(1, 4).Draw(t, "fields") {
			name := fmt.Sprintf("F%d", i)
			tag := strings.ToLower(name)
			defaultTag := ""
			var typ reflect.Type
			if depth > 0 && rapid.IntRange(0, 2).Draw(t, "block") == 0 {
				typ, tag = blockType(t, configTypes(depth-1).Draw(t, name)), tag+",block"
			} else {
				typ = attributeType(t, 2)
				if rapid.Bool().Draw(t, "optional") {
					tag += ",optional"
				}
				if rapid.Bool().Draw(t, "has a default") {
					defaultTag = fmt.Sprintf(` default:%q`, defaultText(t, typ))
				}
			}
			fields = append(fields, reflect.StructField{Name: name, Type: typ, Tag: reflect.StructTag(fmt.Sprintf(`hcl:%q`, tag) + defaultTag)})
		}
		return reflect.StructOf(fields)
	})
}

// blockType is a way in which a field holds blocks.
func blockType(t *rapid.T, body reflect.Type) reflect.Type {
	switch rapid.IntRange(0, 4).Draw(t, "shape") {
	case 0:
		return body
	case 1:
		return reflect.PointerTo(body)
	case 2:
		return reflect.SliceOf(body)
	case 3:
		return reflect.MapOf(reflect.TypeFor[string](), body)
	default:
		fields := []reflect.StructField{{Name: "Label", Type: reflect.TypeFor[string](), Tag: `hcl:"name,label"`}}
		for i := range body.NumField() {
			fields = append(fields, reflect.StructField{Name: body.Field(i).Name, Type: body.Field(i).Type, Tag: body.Field(i).Tag})
		}
		return reflect.SliceOf(reflect.StructOf(fields))
	}
}

func attributeType(t *rapid.T, depth int) reflect.Type {
	if depth > 0 {
		switch rapid.IntRange(0, 7).Draw(t, "collection") {
		case 0:
			return reflect.SliceOf(attributeType(t, depth-1))
		case 1:
			return reflect.MapOf(reflect.TypeFor[string](), attributeType(t, depth-1))
		case 2:
			return reflect.PointerTo(attributeType(t, 0))
		}
	}
	return rapid.SampledFrom([]reflect.Type{
		reflect.TypeFor[string](), reflect.TypeFor[bool](), durationType, secretType,
		reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int64](),
		reflect.TypeFor[uint16](), reflect.TypeFor[uint64](), reflect.TypeFor[float32](), reflect.TypeFor[float64](),
	}).Draw(t, "type")
}

// defaultText is a default tag for a type.
func defaultText(t *rapid.T, typ reflect.Type) string {
	v := reflect.New(typ).Elem()
	fillValue(t, v)
	value := inHCL(v)
	if value.Type() == cty.String {
		return value.AsString()
	}
	encoded, err := ctyjson.Marshal(value, value.Type())
	require.NoError(t, err)
	return string(encoded)
}

// fallback is what an attribute is that nobody has written.
func (a configAttr) fallback() reflect.Value {
	v := reflect.New(a.typ).Elem()
	if a.defaultJSON != nil {
		new(configDecoder).value(nil, a.defaultJSON, v)
	}
	return v
}

// fill gives v a value.
func fill(t *rapid.T, b *configBlock, v reflect.Value) {
	for _, a := range b.attrs {
		if a.required || rapid.Bool().Draw(t, a.name+" is set") {
			fillValue(t, v.FieldByIndex(a.index))
		} else {
			v.FieldByIndex(a.index).Set(a.fallback())
		}
	}
	for _, n := range b.blocks {
		field := v.FieldByIndex(n.index)
		count := rapid.IntRange(0, 2).Draw(t, n.name+" blocks")
		switch n.shape {
		case shapeStruct:
			fill(t, n.block, field)
		case shapePointer:
			if count > 0 {
				field.Set(reflect.New(n.block.typ))
				fill(t, n.block, field.Elem())
			}
		case shapeMap:
			field.Set(reflect.MakeMap(field.Type()))
			for i := range count {
				body := reflect.New(n.block.typ).Elem()
				fill(t, n.block, body)
				field.SetMapIndex(reflect.ValueOf(label(i)), body)
			}
		default:
			field.Set(reflect.MakeSlice(field.Type(), count, count))
			for i := range count {
				if n.shape == shapeLabelled {
					field.Index(i).FieldByIndex(n.block.label).SetString(label(i))
				}
				fill(t, n.block, field.Index(i))
			}
		}
	}
}

// label is the label of the i-th block, in the order of labels.
func label(i int) string { return string(rune('a'+i)) + `."]` }

func fillValue(t *rapid.T, v reflect.Value) {
	text := rapid.StringOf(rapid.SampledFrom([]rune("ab1 é\"\\$%{}[]\n")))
	switch {
	case v.Type() == secretType:
		v.Set(reflect.ValueOf(NewSecret(text.Draw(t, "secret"))))
		return
	case v.Type() == durationType:
		v.SetInt(rapid.Int64().Draw(t, "duration"))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text.Draw(t, "string"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(t, v.Elem())
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "length")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fillValue(t, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range rapid.IntRange(0, 2).Draw(t, "size") {
			member := reflect.New(v.Type().Elem()).Elem()
			fillValue(t, member)
			v.SetMapIndex(reflect.ValueOf(label(i)), member)
		}
	case reflect.Float32:
		v.SetFloat(float64(rapid.Float32().Draw(t, "float32")))
	case reflect.Float64:
		v.SetFloat(rapid.Float64().Draw(t, "float64"))
	case reflect.Uint, reflect.Uint16, reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint") >> (64 - v.Type().Bits()))
	default:
		v.SetInt(rapid.Int64().Draw(t, "int") >> (64 - v.Type().Bits()))
	}
}

// source is a config block as text. It knows where each attribute stands and
// how FieldError names it.
type source struct {
	text  strings.Builder
	sites []site
	// wrong is the number of the attribute that gets a wrong value; -1: none.
	wrong int
}

type site struct {
	path string
	line int
}

func write(b *configBlock, v reflect.Value, wrong int) *source {
	s := &source{wrong: wrong}
	s.text.WriteString("config {\n")
	s.block(b, v, "")
	s.text.WriteString("}\n")
	return s
}

func (s *source) line() int { return strings.Count(s.text.String(), "\n") + 1 }

func (s *source) block(b *configBlock, v reflect.Value, path string) {
	for _, a := range b.attrs {
		field := v.FieldByIndex(a.index)
		if !a.required && reflect.DeepEqual(field.Interface(), a.fallback().Interface()) {
			continue
		}
		value := string(hclwrite.TokensForValue(inHCL(field)).Bytes())
		if len(s.sites) == s.wrong {
			value = misfitting(a.typ)
		}
		s.sites = append(s.sites, site{path: path + a.name, line: s.line()})
		s.text.WriteString(a.name + " = " + value + "\n")
	}
	for _, n := range b.blocks {
		field := v.FieldByIndex(n.index)
		nested := func(label string, body reflect.Value, selector string) {
			if label != "" {
				label = string(hclwrite.TokensForValue(cty.StringVal(label)).Bytes()) + " "
			}
			s.text.WriteString(n.name + " " + label + "{\n")
			s.block(n.block, body, path+n.name+selector+".")
			s.text.WriteString("}\n")
		}
		switch n.shape {
		case shapeStruct:
			nested("", field, "")
		case shapePointer:
			if !field.IsNil() {
				nested("", field.Elem(), "")
			}
		case shapeMap:
			for i := range field.Len() {
				nested(label(i), field.MapIndex(reflect.ValueOf(label(i))), fmt.Sprintf("[%q]", label(i)))
			}
		case shapeSlice:
			for i := range field.Len() {
				nested("", field.Index(i), fmt.Sprintf("[%d]", i))
			}
		case shapeLabelled:
			// Against the order of labels, which is the slice's.
			for i := field.Len() - 1; i >= 0; i-- {
				nested(label(i), field.Index(i), fmt.Sprintf("[%d]", i))
			}
		}
	}
}

// inHCL is how a user writes a value.
func inHCL(v reflect.Value) cty.Value {
	switch {
	case v.Type() == secretType:
		return cty.StringVal(v.Interface().(Secret).Reveal())
	case v.Type() == durationType:
		return cty.StringVal(v.Interface().(time.Duration).String())
	}
	switch v.Kind() {
	case reflect.String:
		return cty.StringVal(v.String())
	case reflect.Bool:
		return cty.BoolVal(v.Bool())
	case reflect.Pointer:
		return inHCL(v.Elem())
	case reflect.Slice:
		members := make([]cty.Value, v.Len())
		for i := range members {
			members[i] = inHCL(v.Index(i))
		}
		return cty.TupleVal(members)
	case reflect.Map:
		members := map[string]cty.Value{}
		for _, key := range v.MapKeys() {
			members[key.String()] = inHCL(v.MapIndex(key))
		}
		return cty.ObjectVal(members)
	case reflect.Float32, reflect.Float64:
		// By its shortest decimal: the one that big.Float finds for a power of two
		// may be a neighbour's.
		return cty.MustParseNumberVal(strconv.FormatFloat(v.Float(), 'g', -1, 64))
	case reflect.Uint, reflect.Uint16, reflect.Uint64:
		return cty.NumberUIntVal(v.Uint())
	default:
		return cty.NumberIntVal(v.Int())
	}
}

// misfitting is a value that does not fit the type: for some types the host
// sees that, for others the plugin does.
func misfitting(typ reflect.Type) string {
	switch elem := indirect(typ); {
	case elem == durationType:
		return `"soon"`
	case elem == secretType, elem.Kind() == reflect.String:
		return `["a"]`
	case elem.Kind() == reflect.Bool:
		return `"maybe"`
	case elem.Kind() == reflect.Slice, elem.Kind() == reflect.Map:
		return `"neither list nor map"`
	case elem.Kind() == reflect.Float32, elem.Kind() == reflect.Float64:
		return `1e400`
	case elem.Bits() < 64:
		return fmt.Sprint(int64(math.MaxInt64)) // beyond the range
	default:
		return `1.5`
	}
}

// configured decodes a source with both decoders. With complain the plugin
// refuses what it has got.
func configured(b *configBlock, src *source, into reflect.Value, complain func() error) hcl.Diagnostics {
	file, diags := hclsyntax.ParseConfig([]byte(src.text.String()), "config.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		return diags
	}
	found := file.Body.(*hclsyntax.Body).Blocks[0].AsHCLBlock()
	written := pluginconfig.Written{
		Plugin: "p", Body: found.Body, Header: found.DefRange, Around: found.DefRange,
		EvalContext: hclfile.EvalContext(func(string) (string, bool) { return "", false }),
	}
	raw, diags := written.Decode(b.wire())
	if diags.HasErrors() {
		return diags
	}
	err := decodeConfig(b, raw, into)
	if err == nil && complain != nil {
		err = complain()
	}
	if err != nil {
		return written.Locate(b.wire(), b.byLabel(raw, diagnose(err)))
	}
	return nil
}

func TestAnyConfigArrivesAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := schemaOf(drawn(t))
		want, got := reflect.New(b.typ).Elem(), reflect.New(b.typ).Elem()
		fill(t, b, want)
		src := write(b, want, -1)
		diags := configured(b, src, got, nil)
		require.Empty(t, diags, "%s", src.text.String())
		secrets := cmp.Comparer(func(a, b Secret) bool { return a.Reveal() == b.Reveal() })
		if diff := cmp.Diff(want.Interface(), got.Interface(), cmpopts.EquateEmpty(), secrets); diff != "" {
			t.Fatalf("%s\n%s", src.text.String(), diff)
		}
	})
}

func TestAnyWrongValueIsShownWhereItIsWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := schemaOf(drawn(t))
		v := reflect.New(b.typ).Elem()
		fill(t, b, v)
		sites := write(b, v, -1).sites
		if len(sites) == 0 {
			t.Skip("nothing is written")
		}
		at := rapid.IntRange(0, len(sites)-1).Draw(t, "wrong attribute")
		src := write(b, v, at)
		diags := configured(b, src, reflect.New(b.typ).Elem(), nil)
		require.Len(t, diags, 1, "%s", src.text.String())
		require.Equal(t, src.sites[at].line, diags[0].Subject.Start.Line, "%s\n%s", src.text.String(), diags)
	})
}

func TestAnyFieldErrorIsShownWhereItIsWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := schemaOf(drawn(t))
		v := reflect.New(b.typ).Elem()
		fill(t, b, v)
		src := write(b, v, -1)
		if len(src.sites) == 0 {
			t.Skip("nothing is written")
		}
		// Several at once, each at its own place.
		var complaints []error
		var want []int
		for i := range rapid.IntRange(1, 3).Draw(t, "complaints") {
			s := rapid.SampledFrom(src.sites).Draw(t, "attribute")
			complaints = append(complaints, fmt.Errorf("check: %w", FieldError(s.path, fmt.Errorf("bad %d", i))))
			want = append(want, s.line)
		}
		diags := configured(b, src, reflect.New(b.typ).Elem(), func() error { return errors.Join(complaints...) })
		var got []int
		for _, d := range diags {
			got = append(got, d.Subject.Start.Line)
		}
		slices.Sort(want)
		require.Equal(t, want, got, "%s\n%v", src.text.String(), complaints)
	})
}

func drawn(t *rapid.T) reflect.Type {
	typ := configTypes(2).Draw(t, "config")
	t.Log(typ)
	return typ
}
