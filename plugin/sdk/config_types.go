package sdk

import (
	"fmt"
	"reflect"
	"time"
)

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
