package pgmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/queues"
)

// A number of ten bytes can be a hundred thousand characters long as text, so a
// message that is short as it is stored may be too long for PostgreSQL to write,
// or take it longer than a claim may. The claim fails then, and with it
// everybody's behind that message. So what failed in this way is done again
// carefully: bodies are left to be fetched one by one, and headers with such
// numbers are not written at all. That costs more for each message, and is
// why not every claim is one.

// longNumber is how many digits of a number are no producer's mistake.
const longNumber = 100

// hasLongNumbers is a condition that is true when the JSON expression has a
// number that is long as text. It does not write it.
func hasLongNumbers(json string) string {
	return fmt.Sprintf(`EXISTS (SELECT FROM jsonb_path_query(%s, 'strict $.** ? (@.type() == "number")') AS n(n)
		WHERE abs(n::numeric) > 1e%d OR scale(n::numeric) > %d)`, json, longNumber, longNumber)
}

// boundedText is an expression for JSON as text that is NULL where that has more
// bytes than the limit, or numbers that are long as text.
func boundedText(json, limit string) string {
	return fmt.Sprintf(`CASE WHEN NOT (%[1]s) THEN CASE WHEN octet_length(%[2]s::text) <= %[3]s THEN %[2]s::text END END`, hasLongNumbers(json), json, limit)
}

// lease runs a claim statement, or claims one message, carefully where that is
// needed. last is the newest time at which one of the messages became visible.
func (b *Broker) lease(ctx context.Context, l *layout, one bool, req queues.ClaimRequest, args ...any) (got []queues.Delivery, last time.Time, err error) {
	careful := l.careful.Swap(false)
	if !careful {
		sql := l.claim
		if one {
			sql = l.claimOne
		}
		got, last, err = b.leaseBodies(ctx, sql, req, b.opts.InlineBodyLimit, args...)
		careful = isTooLong(err)
	}
	if careful {
		got, last, err = b.leaseBodies(ctx, claimSQL(l, one, true), req, 0, args...)
	}
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		// A text that is nearly too long, maybe: then the next try takes as long.
		l.careful.Store(true)
	}
	return got, last, err
}
