package codec

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
)

// The buffers that are kept: of 2 KiB to 2 MiB, in powers of two. gRPC does not
// give back what has 1 KiB or less, and a batch is closed at 1 MiB.
const (
	smallestBuffer = 11
	largestBuffer  = 21
)

// buffers is a mem.BufferPool that does not clear what it gives: it is for
// writers that fill what they get. gRPC's own pool clears a megabyte for a batch
// of forty kilobytes.
type buffers struct {
	kept [largestBuffer - smallestBuffer + 1]sync.Pool
}

// Get returns a buffer of any content.
func (b *buffers) Get(length int) *[]byte {
	size := bits.Len(uint(max(length, 1) - 1))
	if size < smallestBuffer || size > largestBuffer {
		buf := make([]byte, length)
		return &buf
	}
	if buf, ok := b.kept[size-smallestBuffer].Get().(*[]byte); ok {
		*buf = (*buf)[:length]
		return buf
	}
	buf := make([]byte, length, 1<<size)
	return &buf
}

// Put takes a buffer back.
func (b *buffers) Put(buf *[]byte) {
	size := bits.Len(uint(cap(*buf))) - 1
	if size >= smallestBuffer && size <= largestBuffer && cap(*buf) == 1<<size {
		b.kept[size-smallestBuffer].Put(buf)
	}
}

// contiguous returns the data in one piece. The caller frees it, and data is
// still its own.
func (b *buffers) contiguous(data mem.BufferSlice) mem.Buffer {
	if len(data) == 1 {
		data[0].Ref()
		return data[0]
	}
	buf := b.Get(data.Len())
	data.CopyTo(*buf)
	return mem.NewBuffer(buf, b)
}
