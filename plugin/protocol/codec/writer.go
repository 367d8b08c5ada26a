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

// writer builds an encoded message: in one buffer, with the large bodies between
// its pieces.
type writer struct {
	buffers *buffers
	done    mem.BufferSlice
	buf     *[]byte // what is being filled
	out     []byte  // its content
	left    int     // bytes from out's beginning to the end, lent ones not counted
}

// begin makes room for what is left.
func (w *writer) begin() {
	w.buf = w.buffers.Get(w.left)
	w.out = (*w.buf)[:0]
}

// close appends the piece that is being filled.
func (w *writer) close() {
	if w.buf == nil {
		return
	}
	*w.buf = w.out
	w.left -= len(w.out)
	w.done = append(w.done, mem.NewBuffer(w.buf, w.buffers))
	w.buf, w.out = nil, nil
}

func (w *writer) finish() mem.BufferSlice {
	w.close()
	return w.done
}

// discard gives back what has been built.
func (w *writer) discard() {
	w.close()
	w.done.Free()
}

func (w *writer) tag(number protowire.Number, kind protowire.Type) {
	w.out = protowire.AppendTag(w.out, number, kind)
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

// body writes a field unless it is empty. A large one is lent; what follows it
// goes on in a piece of its own.
func (w *writer) body(number protowire.Number, body []byte) {
	switch {
	case len(body) == 0:
	case len(body) < lendFrom:
		w.tag(number, protowire.BytesType)
		w.out = protowire.AppendBytes(w.out, body)
	default:
		w.message(number, len(body))
		w.close()
		w.done = append(w.done, mem.SliceBuffer(body))
		w.begin()
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
