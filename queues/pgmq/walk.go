package pgmq

import (
	"context"
	"strings"
	"time"

	"github.com/stephost/stephost/queues"
)

// SweepDue implements queues.Broker.
func (b *Broker) SweepDue(queue string) (in time.Duration, due bool) {
	return b.floors.sweepDue(strings.ToLower(queue))
}

const (
	// weighTimeout bounds what the messages of a slow claim wait for the question
	// why it was slow.
	weighTimeout = time.Second
	// sweepTimeout is what a look behind a kept floor may take of a claim's time:
	// the claim above has the rest.
	sweepTimeout = 5 * time.Second
)

// walkSQL steps over everything before a time as a claim does, up to the first
// message, and says how long that took by the database's clock, which no network
// and no busy host is part of.
func walkSQL(l *layout) string {
	return `WITH behind AS MATERIALIZED (
		SELECT FROM ` + l.q + ` WHERE vt <= statement_timestamp() AND vt < $1::timestamptz ORDER BY vt LIMIT 1
	)
	SELECT statement_timestamp(), (extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000000)::bigint
	FROM (SELECT count(*) FROM behind) AS walked`
}

// weigh keeps the floor if it was the walk over dead entries that made a claim
// slow. The claim began at that time of the host's and looked at everything up to
// last, or to its end when it got nothing.
func (b *Broker) weigh(ctx context.Context, l *layout, began time.Time, full bool, last time.Time) {
	ctx, cancel := context.WithTimeout(ctx, weighTimeout)
	defer cancel()
	upTo := end()
	if !last.IsZero() {
		upTo = timestamptz(last)
	}
	var (
		at           time.Time
		microseconds int64
	)
	if err := b.work.QueryRow(ctx, walkSQL(l), upTo).Scan(&at, &microseconds); err != nil {
		b.opts.Logger.Debug("ask for the length of the walk after a slow claim", "queue", l.queue, "error", err)
		return
	}
	walk := time.Duration(microseconds) * time.Microsecond
	if walk < b.floors.long {
		b.floors.weighed(l.key)
		return
	}
	if last.IsZero() {
		last = at.Add(-b.floors.now().Sub(began))
	}
	b.floors.keep(l.key, last, full, walk)
}

// claimAbove claims where the floor is kept, and looks behind it when that is due.
func (b *Broker) claimAbove(ctx context.Context, l *layout, req queues.ClaimRequest, in scope) ([]queues.Delivery, error) {
	var (
		c     = collector{limit: req.Limit}
		swept *backLook
		began = b.floors.now()
	)
	if in.now {
		swept = b.sweepBehind(ctx, l, req, in, began, &c)
	}
	if c.err == nil && c.room() > 0 {
		req.Limit = c.room()
		c.add(b.lease(ctx, l, false, req, int64(req.Limit), in.low, end()))
	}
	if c.err == nil && in.due && !in.now && len(c.got) == 0 {
		// What woke the lane may be behind.
		swept = b.sweepBehind(ctx, l, req, in, began, &c)
	}
	if c.err != nil {
		if len(c.got) == 0 {
			return nil, c.err
		}
		// What is leased must not wait for that.
		b.opts.Logger.Debug("a part of a claim failed", "queue", l.queue, "error", c.err)
	}
	b.floors.endedAbove(l.key, c.room() == 0, c.last, swept)
	return c.got, nil
}

// sweepBehind claims what is behind the floor, for a claim that began at that time
// of the host's. It may fail without the claim: what is above the floor must not
// wait for a walk that takes too long.
func (b *Broker) sweepBehind(ctx context.Context, l *layout, req queues.ClaimRequest, in scope, began time.Time, c *collector) *backLook {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	var s backLook
	sweeping := b.floors.now()
	err := b.work.QueryRow(ctx, `SELECT statement_timestamp()`).Scan(&s.at)
	if err == nil {
		// The claim has looked above the floor already, maybe, and no later than that.
		s.at = s.at.Add(-b.floors.now().Sub(began))
		var got []queues.Delivery
		var last time.Time
		if got, last, err = b.lease(ctx, l, false, req, int64(req.Limit), beginning(), in.low); err == nil {
			c.add(got, last, nil)
		}
	}
	s.walk = b.floors.now().Sub(sweeping) - time.Duration(len(c.got))*slowRow
	if err != nil {
		b.opts.Logger.Warn("cannot look behind the dead rows of a queue, so messages that became visible late wait: does a session hold the xmin horizon?",
			"queue", l.queue, "after", b.floors.now().Sub(sweeping), "error", err)
		s.failed = true
	}
	return &s
}

// collector gathers the parts of a claim.
type collector struct {
	limit int
	got   []queues.Delivery
	last  time.Time
	err   error
}

func (c *collector) add(got []queues.Delivery, last time.Time, err error) {
	c.got = append(c.got, got...)
	if len(got) > 0 {
		c.last = last
	}
	c.err = err
}

func (c *collector) room() int { return c.limit - len(c.got) }
