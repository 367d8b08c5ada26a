package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// configDecoder reads the config block's value into a struct and collects
// every complaint on the way. The host has checked types already; what is left
// are the bounds that only Go's types have, durations, and hosts of another
// opinion.
type configDecoder struct {
	errors configErrors
}

// decodeConfig fills target, a settable struct of b's type. A nil value stands
// for a config block that was left out.
func decodeConfig(b *configBlock, raw []byte, target reflect.Value) error {
	if b == nil {
		return nil
	}
	var d configDecoder
	d.block(nil, b, raw, target)
	if len(d.errors) > 0 {
		return d.errors
	}
	return nil
}

// complain adds a diagnostic about the value at path.
func (d *configDecoder) complain(path []*pluginv1.PathStep, format string, args ...any) {
	d.errors = append(d.errors, &pluginv1.Diagnostic{
		Severity: pluginv1.Severity_SEVERITY_ERROR,
		Summary:  "Wrong value in plugin config",
		Detail:   cleanText(fmt.Sprintf(format, args...), maxMessageBytes),
		Path:     path,
	})
}

// block reads an object, or nothing, into a struct.
func (d *configDecoder) block(path []*pluginv1.PathStep, b *configBlock, raw json.RawMessage, target reflect.Value) {
	members := map[string]json.RawMessage{}
	if !isNull(raw) {
		if err := json.Unmarshal(raw, &members); err != nil {
			d.complain(path, "must be a block, not %s", jsonKind(raw))
			return
		}
	}
	for _, a := range b.attrs {
		value := members[a.name]
		delete(members, a.name)
		at := appendAttribute(path, a.name)
		switch {
		case !isNull(value):
			d.value(at, value, target.FieldByIndex(a.index))
		case a.defaultJSON != nil:
			d.value(at, a.defaultJSON, target.FieldByIndex(a.index))
		case a.required:
			d.complain(at, "%s is required", a.name)
		}
	}
	for _, n := range b.blocks {
		value := members[n.name]
		delete(members, n.name)
		d.nested(appendAttribute(path, n.name), n, value, target.FieldByIndex(n.index))
	}
	unknown := make([]string, 0, len(members))
	for name := range members {
		unknown = append(unknown, name)
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		d.complain(appendAttribute(path, name), "%s is not known to the plugin", name)
	}
}

// nested reads the value of a block type into its field.
func (d *configDecoder) nested(path []*pluginv1.PathStep, n configNested, raw json.RawMessage, field reflect.Value) {
	switch n.shape {
	case shapeStruct:
		if isNull(raw) && n.block.needsBody() {
			d.complain(path, "a %s block is required", n.name)
			return
		}
		d.block(path, n.block, raw, field)
	case shapePointer:
		if !isNull(raw) {
			field.Set(reflect.New(n.block.typ))
			d.block(path, n.block, raw, field.Elem())
		}
	case shapeSlice:
		d.list(path, raw, field, func(at []*pluginv1.PathStep, raw json.RawMessage, v reflect.Value) {
			d.block(at, n.block, raw, v)
		})
	case shapeMap:
		d.dict(path, raw, field, func(at []*pluginv1.PathStep, raw json.RawMessage, v reflect.Value) {
			d.block(at, n.block, raw, v)
		})
	case shapeLabelled:
		d.labelled(path, n, raw, field)
	}
}

// labelled reads blocks by label into a slice, ordered by label.
func (d *configDecoder) labelled(path []*pluginv1.PathStep, n configNested, raw json.RawMessage, field reflect.Value) {
	d.each(path, raw, func(label string, raw json.RawMessage) {
		v := reflect.New(n.block.typ).Elem()
		v.FieldByIndex(n.block.label).SetString(label)
		d.block(appendKey(path, label), n.block, raw, v)
		field.Set(reflect.Append(field, v))
	})
}

// value reads an attribute's value. Complaints about a secret name its kind and
// never show it.
func (d *configDecoder) value(path []*pluginv1.PathStep, raw json.RawMessage, v reflect.Value) {
	typ := v.Type()
	switch {
	case typ == secretType:
		if s, ok := d.text(path, raw); ok {
			v.Set(reflect.ValueOf(NewSecret(s)))
		}
	case typ == durationType:
		d.duration(path, raw, v)
	default:
		d.kind(path, raw, v)
	}
}

// kind reads a value of one of Go's own kinds.
func (d *configDecoder) kind(path []*pluginv1.PathStep, raw json.RawMessage, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if s, ok := d.text(path, raw); ok {
			v.SetString(s)
		}
	case reflect.Bool:
		var b bool
		if json.Unmarshal(raw, &b) != nil || isNull(raw) {
			d.complain(path, "must be true or false, not %s", jsonKind(raw))
			return
		}
		v.SetBool(b)
	case reflect.Pointer:
		if isNull(raw) {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		d.value(path, raw, v.Elem())
	case reflect.Slice:
		d.list(path, raw, v, d.value)
	case reflect.Map:
		d.dict(path, raw, v, d.value)
	default:
		d.number(path, raw, v)
	}
}

// text reads a string.
func (d *configDecoder) text(path []*pluginv1.PathStep, raw json.RawMessage) (string, bool) {
	var s string
	if isNull(raw) || json.Unmarshal(raw, &s) != nil {
		d.complain(path, "must be a string, not %s", jsonKind(raw))
		return "", false
	}
	return s, true
}

func (d *configDecoder) duration(path []*pluginv1.PathStep, raw json.RawMessage, v reflect.Value) {
	s, ok := d.text(path, raw)
	if !ok {
		return
	}
	duration, err := time.ParseDuration(s)
	if err != nil {
		d.complain(path, `must be a duration like "30s" or "1m30s", not %q`, s)
		return
	}
	v.SetInt(int64(duration))
}

// number reads an integer or a float, with the bounds of the field's type.
func (d *configDecoder) number(path []*pluginv1.PathStep, raw json.RawMessage, v reflect.Value) {
	text := string(bytes.TrimSpace(raw))
	n, _, err := big.ParseFloat(text, 10, 512, big.ToNearestEven)
	if err != nil || jsonKind(raw) != "a number" {
		d.complain(path, "must be a number, not %s", jsonKind(raw))
		return
	}
	switch kind := v.Kind(); kind {
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil {
			d.complain(path, "%s is beyond the range of a %s", text, kind)
			return
		}
		v.SetFloat(f)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		limit := uint64(1)<<v.Type().Bits() - 1
		// IsInt, because Uint64 calls 1.5 exactly 1.
		u, accuracy := n.Uint64()
		if !n.IsInt() || accuracy != big.Exact || v.OverflowUint(u) {
			d.complain(path, "must be a whole number between 0 and %d, not %s", limit, text)
			return
		}
		v.SetUint(u)
	default:
		low, high := int64(-1)<<(v.Type().Bits()-1), int64(1)<<(v.Type().Bits()-1)-1
		i, accuracy := n.Int64()
		if accuracy != big.Exact || v.OverflowInt(i) {
			d.complain(path, "must be a whole number between %d and %d, not %s", low, high, text)
			return
		}
		v.SetInt(i)
	}
}

// memberFunc reads one member of a collection.
type memberFunc func(at []*pluginv1.PathStep, raw json.RawMessage, v reflect.Value)

// list reads a list; null leaves the slice nil.
func (d *configDecoder) list(path []*pluginv1.PathStep, raw json.RawMessage, v reflect.Value, member memberFunc) {
	if isNull(raw) {
		return
	}
	var members []json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		d.complain(path, "must be a list, not %s", jsonKind(raw))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(members), len(members))
	for i, m := range members {
		member(appendIndex(path, i), m, out.Index(i))
	}
	v.Set(out)
}

// dict reads a map; null leaves it nil.
func (d *configDecoder) dict(path []*pluginv1.PathStep, raw json.RawMessage, v reflect.Value, member memberFunc) {
	if isNull(raw) {
		return
	}
	out := reflect.MakeMap(v.Type())
	d.each(path, raw, func(key string, raw json.RawMessage) {
		m := reflect.New(v.Type().Elem()).Elem()
		member(appendKey(path, key), raw, m)
		out.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), m)
	})
	v.Set(out)
}

// each visits an object's members in the order of their names.
func (d *configDecoder) each(path []*pluginv1.PathStep, raw json.RawMessage, visit func(string, json.RawMessage)) {
	if isNull(raw) {
		return
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		d.complain(path, "must be a map, not %s", jsonKind(raw))
		return
	}
	keys := make([]string, 0, len(members))
	for k := range members {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		visit(k, members[k])
	}
}

// isNull reports whether a member is absent or null.
func isNull(raw json.RawMessage) bool {
	trimmed := bytes.TrimSpace(raw)
	return len(trimmed) == 0 || string(trimmed) == "null"
}

// jsonKind names what a JSON value is, without showing it.
func jsonKind(raw json.RawMessage) string {
	trimmed := bytes.TrimSpace(raw)
	if isNull(raw) {
		return "null"
	}
	switch c := trimmed[0]; {
	case c == '"':
		return "a string"
	case c == '{':
		return "an object"
	case c == '[':
		return "a list"
	case c == 't', c == 'f':
		return "a bool"
	case c == '-', strings.ContainsRune("0123456789", rune(c)):
		return "a number"
	default:
		return "something that is not JSON"
	}
}
