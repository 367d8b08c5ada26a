package codec

import "google.golang.org/protobuf/encoding/protowire"

// fields walks over the fields of an encoded message.
type fields struct{ rest []byte }

// field is one of them. number is its place in the value's type of wire.
type field struct {
	number protowire.Number
	kind   protowire.Type
	varint uint64
	bytes  []byte // still the message's
}

// next returns the next field. ok is false when the message is malformed or has
// a field of another kind than varint or bytes.
func (f *fields) next() (got field, ok bool) {
	number, kind, n := consumeTag(f.rest)
	if n < 0 {
		return got, false
	}
	got.number, got.kind = number, kind
	f.rest = f.rest[n:]
	switch kind {
	case protowire.VarintType:
		got.varint, n = protowire.ConsumeVarint(f.rest)
	case protowire.BytesType:
		got.bytes, n = protowire.ConsumeBytes(f.rest)
	default:
		n = -1
	}
	if n < 0 {
		return got, false
	}
	f.rest = f.rest[n:]
	return got, true
}

// consumeTag is protowire.ConsumeTag, faster for the numbers below 16 that all
// our fields have.
func consumeTag(b []byte) (protowire.Number, protowire.Type, int) {
	if len(b) > 0 && b[0] < 0x80 && b[0] >= 1<<3 {
		return protowire.Number(b[0] >> 3), protowire.Type(b[0] & 7), 1
	}
	return protowire.ConsumeTag(b)
}

// count is how many times a field occurs at the top level.
func count(data []byte, number protowire.Number) (n int, ok bool) {
	for f := (fields{data}); len(f.rest) > 0; {
		got, ok := f.next()
		if !ok {
			return 0, false
		}
		if got.number == number {
			n++
		}
	}
	return n, true
}

// message tells whether the field is a message, or text, of this number.
func (f field) message(number protowire.Number) bool {
	return f.number == number && f.kind == protowire.BytesType
}
