package pgmq

// Statements about a batch of leases take its ids as $1, ascending and each once, and
// beside them its epochs as $2 and its enqueueing times as $3.
//
// A member is found by bisection. A join would do as well, but how the server goes
// about one depends on what it believes about the queue's length: it has compared each
// message of a long queue with each member, because the queue was empty when it was
// analysed. That took forty times as long.
const (
	// ordinal is the place in the batch, from one, of a message m that is in it.
	ordinal = `width_bucket(m.msg_id::bigint, $1::bigint[])`

	// ofBatch tells whether the lease of a message m is in the batch and still holds.
	ofBatch = `m.msg_id = ANY ($1::bigint[]) AND m.read_ct = ($2::int[])[` + ordinal + `] AND m.enqueued_at = ($3::timestamptz[])[` + ordinal + `]`
)

// memberOf is what an array parameter has for a message m that is in the batch.
func memberOf(parameter string) string {
	return "(" + parameter + ")[" + ordinal + "]"
}

// ascending is how many of the ids, which are sorted, one batch can have: all up to the
// first one that is there again.
func ascending(n int, id func(int) int64) int {
	for i := 1; i < n; i++ {
		if id(i) == id(i-1) {
			return i
		}
	}
	return n
}
