package codec

import (
	"unicode/utf8"
	"unsafe"
)

const (
	// arenaChunk is how much the members of a batch share at most.
	arenaChunk = 8 << 10
	// arenaPiece is from where on bytes have an allocation of their own.
	arenaPiece = 1 << 10
)

// arena copies the small texts and bodies of a batch into few allocations.
type arena struct {
	free []byte
	// left is how much may still be asked for, at most.
	left int
}

// bytes returns a copy of b; nil where b is empty, as the library has it.
func (a *arena) bytes(b []byte) []byte {
	n := len(b)
	switch {
	case n == 0:
		return nil
	case n >= arenaPiece:
		return append(make([]byte, 0, n), b...)
	case n > len(a.free):
		a.free = make([]byte, max(n, min(a.left, arenaChunk)))
	}
	// Whoever appends to it must not write into the next one.
	copied := a.free[:n:n]
	copy(copied, b)
	a.free, a.left = a.free[n:], a.left-n
	return copied
}

// text returns a copy of b, or before where that is the same text: neighbours in
// a batch mostly have the same namespace, step and queue. It reports whether b
// is UTF-8.
func (a *arena) text(b []byte, before string) (string, bool) {
	switch {
	case string(b) == before:
		return before, true
	case !utf8.Valid(b):
		return "", false
	}
	copied := a.bytes(b)
	// Nobody writes to these bytes again.
	return unsafe.String(unsafe.SliceData(copied), len(copied)), true
}

// slab allocates members of a batch some at a time.
type slab[M any] struct {
	free []M
	left int // members to come, at most
}

// slabMembers is how many share an allocation.
const slabMembers = 16

func (s *slab[M]) next() *M {
	if len(s.free) == 0 {
		s.free = make([]M, max(1, min(s.left, slabMembers)))
	}
	m := &s.free[0]
	s.free, s.left = s.free[1:], s.left-1
	return m
}
