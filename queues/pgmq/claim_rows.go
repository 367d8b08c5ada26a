package pgmq

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/stephost/stephost/queues"
)

// claimedRow is a row of a claim statement. The texts are good until the next one
// is read.
type claimedRow struct {
	id                    int64
	epoch                 int32
	enqueued, vt, claimed int64 // microseconds since 2000
	record                []byte
	stored                int64 // -1: NULL
	body                  []byte
}

// deliveries reads the rows of a claim statement that was to carry bodies up to a
// size, and the latest vt among them.
func deliveries(rows pgx.Rows, req queues.ClaimRequest, bodyLimit int) (got []queues.Delivery, last time.Time, err error) {
	defer rows.Close()
	var (
		row    claimedRow
		bodies slab
		read   = row.scan
	)
	if decodable(rows) {
		read = row.decode
	}
	newest := int64(math.MinInt64)
	for rows.Next() {
		if err := read(rows); err != nil {
			return nil, last, err
		}
		if len(got) == cap(got) {
			got = grown(got, req.Limit)
		}
		got = got[:len(got)+1]
		row.deliver(&got[len(got)-1], req.Queue, bodyLimit, &bodies)
		newest = max(newest, row.vt)
	}
	// A statement that fails after its first rows has leased nothing.
	if err := rows.Err(); err != nil {
		return nil, last, err
	}
	if newest != math.MinInt64 {
		last = instant(newest)
	}
	return got, last, nil
}

// grown makes room: little for a claim that got little, whatever it asked for.
func grown(got []queues.Delivery, limit int) []queues.Delivery {
	room := make([]queues.Delivery, len(got), max(min(8*len(got), limit), len(got)+16))
	copy(room, got)
	return room
}

func (r *claimedRow) deliver(d *queues.Delivery, queue string, bodyLimit int, bodies *slab) {
	d.Lease = queues.Lease{Queue: queue, ID: r.id, Epoch: queues.Epoch(r.epoch), EnqueuedAt: instant(r.enqueued)}
	d.ClaimedAt = instant(r.claimed)
	d.Waited = d.ClaimedAt.Sub(instant(r.vt))
	if r.record != nil {
		d.HeadersTooLarge = len(r.record) == 0
		d.Record = claimedRecord(r.record, d.Epoch)
	}
	small := r.stored < 0
	switch {
	case r.body != nil && len(r.body) <= bodyLimit && (!small || len(r.body) <= maxSmallText):
		d.Body, d.Size = bodies.keep(r.body), int64(len(r.body))
	case r.body != nil:
		d.Deferred, d.Size = true, int64(len(r.body))
	case !small:
		d.Deferred, d.Size = true, r.stored
	}
}

// claimedTypes are the columns' types as decode reads them. A queue's can be others.
var claimedTypes = [...]uint32{
	pgtype.Int8OID, pgtype.Int4OID, pgtype.TimestamptzOID, pgtype.TimestamptzOID, pgtype.TimestamptzOID,
	pgtype.TextOID, pgtype.Int4OID, pgtype.TextOID,
}

// decodable tells whether all columns come as decode reads them. A text is the same
// in both formats, and asked for in the other.
func decodable(rows pgx.Rows) bool {
	fields := rows.FieldDescriptions()
	if len(fields) != len(claimedTypes) {
		return false
	}
	for i, field := range fields {
		if field.DataTypeOID != claimedTypes[i] || field.Format != pgtype.BinaryFormatCode && field.DataTypeOID != pgtype.TextOID {
			return false
		}
	}
	return true
}

// decode reads the row as the server sends it to who prepares statements. The
// general way costs two thirds of the time that reading a claim takes.
func (r *claimedRow) decode(rows pgx.Rows) error {
	raw := rows.RawValues()
	if len(raw) != len(claimedTypes) || len(raw[0]) != 8 || len(raw[1]) != 4 || len(raw[2]) != 8 || len(raw[3]) != 8 || len(raw[4]) != 8 {
		return fmt.Errorf("the server sent another row than was asked for: %d columns", len(raw))
	}
	r.id, r.epoch = int64be(raw[0]), int32(binary.BigEndian.Uint32(raw[1])) //nolint:gosec // as PostgreSQL writes it
	r.enqueued, r.vt, r.claimed = int64be(raw[2]), int64be(raw[3]), int64be(raw[4])
	r.record, r.stored, r.body = raw[5], -1, raw[7]
	if len(raw[6]) == 4 {
		r.stored = int64(binary.BigEndian.Uint32(raw[6]))
	}
	return nil
}

func int64be(raw []byte) int64 { return int64(binary.BigEndian.Uint64(raw)) } //nolint:gosec // as PostgreSQL writes it

// scan reads the row in whatever form it comes.
func (r *claimedRow) scan(rows pgx.Rows) error {
	var (
		enqueued, vt, claimed pgtype.Timestamptz
		stored                pgtype.Int4
		record, body          pgtype.DriverBytes
	)
	if err := rows.Scan(&r.id, &r.epoch, &enqueued, &vt, &claimed, &record, &stored, &body); err != nil {
		return err
	}
	r.enqueued, r.vt, r.claimed = since2000(enqueued), since2000(vt), since2000(claimed)
	r.record, r.stored, r.body = record, -1, body
	if stored.Valid {
		r.stored = int64(stored.Int32)
	}
	return nil
}

// year2000 is when PostgreSQL's time begins, in microseconds.
const year2000 = 946_684_800 * 1_000_000

// instant is a time of the server's. An infinite one is far from all others, and
// becomes infinite again when it is sent back.
func instant(microseconds int64) time.Time { return time.UnixMicro(microseconds + year2000) }

func since2000(t pgtype.Timestamptz) int64 {
	switch t.InfinityModifier {
	case pgtype.Infinity:
		return math.MaxInt64
	case pgtype.NegativeInfinity:
		return math.MinInt64
	default:
		return t.Time.UnixMicro() - year2000
	}
}

// slab keeps copies of small texts, a few in each piece of memory: the last one that
// is in use holds on to no more than slabSize.
type slab struct{ free []byte }

const slabSize = 2 << 10

func (s *slab) keep(text []byte) []byte {
	if len(text) > slabSize/4 {
		return append([]byte(nil), text...)
	}
	if len(text) > cap(s.free)-len(s.free) {
		s.free = make([]byte, 0, slabSize)
	}
	at := len(s.free)
	s.free = append(s.free, text...)
	return s.free[at:len(s.free):len(s.free)]
}
