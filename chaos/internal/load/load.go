// Package load sends messages at a steady pace and remembers which of them are
// known to be committed. It outlives every outage of the database: it connects
// again, and what it could not send meanwhile it does not make up for, so that
// the load after a fault is the load before it.
//
// A send of which nobody knows how it ended is not repeated. The ledger's row,
// which is in the send's transaction, tells whether it was committed.
package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/internal/wait"
)

const (
	// tick is how often messages are sent; those of one tick are one transaction.
	tick = 10 * time.Millisecond
	// sendTimeout bounds a send; what takes longer counts as unknown.
	sendTimeout = 5 * time.Second
	// reconnectAfter is the pause after a failure.
	reconnectAfter = 50 * time.Millisecond
)

// Mix makes the message with this number.
type Mix func(id int64) ledger.Message

// Steady is a mix of messages that succeed: most of them after two milliseconds,
// a tenth after a third of a second and a few after a whole one, so that at any
// time some are being executed. One in two hundred fails first, one in a hundred
// is due a second after it is sent, and a fifth emits.
func Steady(id int64) ledger.Message {
	m := ledger.New(id, 2)
	switch {
	case id%50 == 9:
		m.Milliseconds = 1000
	case id%10 == 7:
		m.Milliseconds = 300
	case id%100 == 3:
		m.Delay = 1
	case id%200 == 21:
		m.Do, m.Times = ledger.Fail, 1
	}
	m.Emit = id%5 == 0 || m.Do == ledger.Fail
	return m
}

// Producer sends until it is stopped. It is safe for concurrent use.
type Producer struct {
	dsn  string
	rate int
	mix  Mix

	next    atomic.Int64
	unknown atomic.Int64
	stop    context.CancelFunc
	done    chan struct{}

	mu    sync.Mutex
	acked []int64
}

// Start begins to send rate messages per second.
func Start(dsn string, rate int, mix Mix) *Producer {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Producer{dsn: dsn, rate: rate, mix: mix, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for ctx.Err() == nil {
			p.connected(ctx)
			_ = wait.For(ctx, reconnectAfter)
		}
	}()
	return p
}

// Stop ends the load and waits until nothing is sent any more.
func (p *Producer) Stop() {
	p.stop()
	<-p.done
}

// NewID returns a number for a message that somebody else sends.
func (p *Producer) NewID() int64 { return p.next.Add(1) }

// Acked are the messages that are known to be committed.
func (p *Producer) Acked() []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]int64(nil), p.acked...)
}

// Ack adds messages that somebody else has sent and knows to be committed.
func (p *Producer) Ack(ids ...int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acked = append(p.acked, ids...)
}

// Unknown counts the sends of which nobody was told how they ended.
func (p *Producer) Unknown() int64 { return p.unknown.Load() }

// connected sends on one connection until that fails.
func (p *Producer) connected(ctx context.Context) {
	dialing, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	conn, err := pgx.Connect(dialing, p.dsn)
	if err != nil {
		return
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	begun, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		due := int(time.Since(begun).Seconds()*float64(p.rate)) - sent
		// After a stall the load goes on at its pace instead of catching up.
		if most := max(p.rate/10, 1); due > most {
			sent += due - most
			due = most
		}
		if due <= 0 {
			continue
		}
		if p.send(ctx, conn, due) != nil {
			return
		}
		sent += due
	}
}

// send sends the next messages in one transaction. It is not cut off when the
// load stops: that would only make its fate unknown.
func (p *Producer) send(ctx context.Context, conn *pgx.Conn, count int) error {
	messages, ids := make([]ledger.Message, count), make([]int64, count)
	for i := range messages {
		ids[i] = p.NewID()
		messages[i] = p.mix(ids[i])
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()
	if err := ledger.Send(ctx, conn, messages...); err != nil {
		p.unknown.Add(int64(count))
		return fmt.Errorf("send: %w", err)
	}
	p.Ack(ids...)
	return nil
}
