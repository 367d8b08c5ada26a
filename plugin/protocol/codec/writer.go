package codec

import (
	"unicode/utf8"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// lendFrom is the size, in bytes, from which on a body is lent to gRPC instead
// of copied.
const lendFrom = 16 << 10

// writer builds an encoded message: in one buffer, which is cut where the large
// bodies belong.
type writer struct {
	buffers *buffers
	size    int     // of the message, lent bodies not counted
	buf     *[]byte // what is being filled
	out     []byte  // its content
	lent    []lentBody
}

// lentBody is a body that comes after the first bytes of the buffer.
type lentBody struct {
	after int
	body  []byte
}

// begin makes room for the message.
func (w *writer) begin() {
	w.buf = w.buffers.Get(w.size)
	w.out = (*w.buf)[:0]
}

// finish returns the message.
func (w *writer) finish() mem.BufferSlice {
	*w.buf = w.out
	whole := mem.NewBuffer(w.buf, w.buffers)
	if len(w.lent) == 0 {
		return mem.BufferSlice{whole}
	}
	defer whole.Free() // its pieces hold it
	pieces := make(mem.BufferSlice, 0, 2*len(w.lent)+1)
	from := 0
	for _, l := range w.lent {
		pieces = append(pieces, whole.Slice(from, l.after), mem.SliceBuffer(l.body))
		from = l.after
	}
	return append(pieces, whole.Slice(from, len(w.out)))
}

// discard gives back what has been built.
func (w *writer) discard() {
	if w.buf != nil {
		w.buffers.Put(w.buf)
	}
}

func (w *writer) tag(number protowire.Number, kind protowire.Type) {
	// One byte: all our fields have a number below 16.
	w.out = append(w.out, byte(number)<<3|byte(kind))
}

// message begins a field that is a message of that size.
func (w *writer) message(number protowire.Number, size int) {
	w.tag(number, protowire.BytesType)
	w.out = protowire.AppendVarint(w.out, uint64(size))
}

// number writes a field unless it is zero.
func (w *writer) number(number protowire.Number, value uint64) {
	if value != 0 {
		w.tag(number, protowire.VarintType)
		w.out = protowire.AppendVarint(w.out, value)
	}
}

// text writes a field unless it is empty.
func (w *writer) text(number protowire.Number, text string) {
	if text != "" {
		w.tag(number, protowire.BytesType)
		w.out = protowire.AppendString(w.out, text)
	}
}

// body writes a field unless it is empty. A large one is lent.
func (w *writer) body(number protowire.Number, body []byte) {
	switch {
	case len(body) == 0:
	case len(body) < lendFrom:
		w.tag(number, protowire.BytesType)
		w.out = protowire.AppendBytes(w.out, body)
	default:
		w.message(number, len(body))
		w.lent = append(w.lent, lentBody{after: len(w.out), body: body})
	}
}

// other writes a message field by the library.
func (w *writer) other(number protowire.Number, m proto.Message) bool {
	w.message(number, proto.Size(m))
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(w.out, m)
	if err == nil {
		w.out = out
	}
	return err == nil
}

// lent is how much of a body of this size is not copied.
func lent(body []byte) int {
	if len(body) < lendFrom {
		return 0
	}
	return len(body)
}

// The sizes of encoded fields with a number below 16.

func numberSize(value uint64) int {
	if value == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(value)
}

func bytesSize(n int) int {
	if n == 0 {
		return 0
	}
	return messageSize(n)
}

func messageSize(n int) int { return 1 + protowire.SizeBytes(n) }

// isText tells whether a text may travel. Neighbours mostly have the same one.
func isText(text, before string) bool { return text == before || utf8.ValidString(text) }
