package pgmq

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// The arrays below are the parameters of statements about many messages. They
// encode themselves, since pgx puts each element into an interface and looks for
// a way to encode it. Where statements are not prepared, parameters travel as
// text, and pgx does it.

type (
	int8s        []int64
	int4s        []int32
	timestamptzs []time.Time
	// texts are NULL where they are nil.
	texts [][]byte
)

// array is one of them. A nil one is NULL, but pgx sees to that.
type array interface {
	// appendBinary appends the array as PostgreSQL's binary format has it.
	appendBinary(buf []byte) []byte
	// plain is the same as a type that pgx encodes.
	plain() any
}

// registerArrays teaches a connection about the arrays.
func registerArrays(m *pgtype.Map) {
	for _, t := range []struct {
		oid   uint32
		value array
	}{
		{pgtype.Int8ArrayOID, int8s(nil)},
		{pgtype.Int4ArrayOID, int4s(nil)},
		{pgtype.TimestamptzArrayOID, timestamptzs(nil)},
		{pgtype.TextArrayOID, texts(nil)},
	} {
		known, _ := m.TypeForOID(t.oid)
		m.RegisterType(&pgtype.Type{Name: known.Name, OID: known.OID, Codec: arrayCodec{known.Codec}})
		m.RegisterDefaultPgType(t.value, known.Name)
	}
}

// arrayCodec is pgx's codec of an array type, for all but our own arrays.
type arrayCodec struct{ pgtype.Codec }

func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	a, ours := value.(array)
	switch {
	case !ours:
		return c.Codec.PlanEncode(m, oid, format, value)
	case format == pgtype.BinaryFormatCode:
		return binaryArray{}
	}
	if plan := m.PlanEncode(oid, format, a.plain()); plan != nil {
		return plainArray{plan}
	}
	return nil
}

type binaryArray struct{}

func (binaryArray) Encode(value any, buf []byte) ([]byte, error) {
	return value.(array).appendBinary(buf), nil
}

type plainArray struct{ plan pgtype.EncodePlan }

func (p plainArray) Encode(value any, buf []byte) ([]byte, error) {
	return p.plan.Encode(value.(array).plain(), buf)
}

// appendArrayHeader begins an array and makes room for n elements, each with its
// length before it, of so many bytes together.
func appendArrayHeader(buf []byte, element uint32, n, bytes int, nulls bool) []byte {
	buf = slices.Grow(buf, 20+4*n+bytes)
	hasNull := uint32(0)
	if nulls {
		hasNull = 1
	}
	buf = binary.BigEndian.AppendUint32(buf, 1) // dimensions
	buf = binary.BigEndian.AppendUint32(buf, hasNull)
	buf = binary.BigEndian.AppendUint32(buf, element)
	buf = binary.BigEndian.AppendUint32(buf, uint32(n)) //nolint:gosec // bounded by what a statement may have
	return binary.BigEndian.AppendUint32(buf, 1)        // the first index
}

func appendInt8(buf []byte, n int64) []byte {
	buf = binary.BigEndian.AppendUint32(buf, 8)
	return binary.BigEndian.AppendUint64(buf, uint64(n)) //nolint:gosec // two's complement
}

func (a int8s) plain() any { return []int64(a) }

func (a int8s) appendBinary(buf []byte) []byte {
	buf = appendArrayHeader(buf, pgtype.Int8OID, len(a), 8*len(a), false)
	for _, n := range a {
		buf = appendInt8(buf, n)
	}
	return buf
}

func (a int4s) plain() any { return []int32(a) }

func (a int4s) appendBinary(buf []byte) []byte {
	buf = appendArrayHeader(buf, pgtype.Int4OID, len(a), 4*len(a), false)
	for _, n := range a {
		buf = binary.BigEndian.AppendUint32(buf, 4)
		buf = binary.BigEndian.AppendUint32(buf, uint32(n)) //nolint:gosec // two's complement
	}
	return buf
}

func (a timestamptzs) plain() any { return []time.Time(a) }

func (a timestamptzs) appendBinary(buf []byte) []byte {
	buf = appendArrayHeader(buf, pgtype.TimestamptzOID, len(a), 8*len(a), false)
	for _, at := range a {
		buf = appendInt8(buf, at.UnixMicro()-year2000)
	}
	return buf
}

func (a texts) plain() any {
	if a == nil {
		return []*string(nil)
	}
	all := make([]*string, len(a))
	for i, text := range a {
		if text != nil {
			s := string(text)
			all[i] = &s
		}
	}
	return all
}

func (a texts) appendBinary(buf []byte) []byte {
	bytes, nulls := 0, false
	for _, text := range a {
		bytes += len(text)
		nulls = nulls || text == nil
	}
	buf = appendArrayHeader(buf, pgtype.TextOID, len(a), bytes, nulls)
	for _, text := range a {
		if text == nil {
			buf = binary.BigEndian.AppendUint32(buf, 1<<32-1) // no length
			continue
		}
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(text))) //nolint:gosec // bounded by what a statement may have
		buf = append(buf, text...)
	}
	return buf
}
