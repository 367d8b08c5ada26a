package pgmq

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stephost/stephost/queues"
)

// Probe implements queues.Prober. It uses one connection and reads two index
// entries of each queue. A queue that is missing or locked by someone, for a
// TRUNCATE say, costs the others about a third of a second.
func (b *Broker) Probe(ctx context.Context, names []string) ([]queues.QueueState, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	conn, err := b.work.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("probe queues: %w", connectError(b.work.Config().ConnConfig, err))
	}
	defer conn.Release()
	if err := b.followServer(ctx, conn); err != nil {
		return nil, fmt.Errorf("probe queues: %w", b.explain(err))
	}
	found, err := readLayouts(ctx, conn, names)
	if err != nil {
		return nil, fmt.Errorf("probe queues: %w", b.explain(err))
	}
	b.layouts.refresh(names, found)
	states := make([]queues.QueueState, len(names))
	var present []probed
	for i, name := range names {
		states[i] = queues.QueueState{Queue: name, NextDue: -1, Missing: found[name] == nil}
		if !states[i].Missing {
			present = append(present, probed{&states[i], found[name]})
		}
	}
	p := prober{conn, &b.floors}
	err = inChunks(ctx, present, p.ask, func(q probed, err error) {
		if sqlState(err) == "42P01" {
			q.state.Missing = true
			return
		}
		q.state.Err = b.explain(fmt.Errorf("probe queue %q: %w", q.state.Queue, err))
	})
	if err != nil {
		return nil, fmt.Errorf("probe queues: %w", b.explain(err))
	}
	return states, nil
}

// probed is a queue that is looked into.
type probed struct {
	state  *queues.QueueState
	layout *layout
}

type prober struct {
	conn   *pgxpool.Conn
	floors *floors
}

// ask is for inChunks.
func (p prober) ask(ctx context.Context, some []probed, lockTimeout time.Duration) error {
	var sql strings.Builder
	lows := make([]any, len(some))
	for i, q := range some {
		lows[i] = p.floors.forProbe(q.layout.key)
		if i > 0 {
			sql.WriteString(" UNION ALL ")
		}
		fmt.Fprintf(&sql, "SELECT %d, %s", i, outlook(q.layout, i+1))
	}
	return pgx.BeginTxFunc(ctx, p.conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, inChunk, fmt.Sprintf("%dms", lockTimeout.Milliseconds())); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sql.String(), lows...)
		if err != nil {
			return err
		}
		var (
			i         int
			wait, due *int64
		)
		_, err = pgx.ForEachRow(rows, []any{&i, &wait, &due}, func() error {
			look(some[i].state, wait, due)
			return nil
		})
		return err
	})
}

// outlook is two expressions: since when there is something to claim, and when the
// next message becomes visible, both from now and in microseconds. The parameter of
// that number is where to begin (floors.forProbe).
func outlook(l *layout, low int) string {
	return `(SELECT (extract(epoch FROM statement_timestamp() - vt) * 1000000)::bigint FROM ` + l.q + ` WHERE vt <= statement_timestamp() AND vt >= ` + fmt.Sprintf("$%d", low) + `::timestamptz ORDER BY vt LIMIT 1),
			(SELECT (extract(epoch FROM vt - statement_timestamp()) * 1000000)::bigint FROM ` + l.q + ` WHERE vt > statement_timestamp() ORDER BY vt LIMIT 1)`
}

// look notes what an outlook said.
func look(state *queues.QueueState, wait, due *int64) {
	state.Visible, state.OldestWait, state.NextDue = wait != nil, 0, -1
	if wait != nil {
		state.OldestWait = time.Duration(*wait) * time.Microsecond
	}
	if due != nil {
		state.NextDue = time.Duration(*due) * time.Microsecond
	}
}

// LookAhead implements queues.Broker. It is one round trip, and not prepared: a
// lane asks once after each burst, and hundreds of lanes would push their claims
// out of the connections' statement caches.
func (b *Broker) LookAhead(ctx context.Context, queue string) (queues.QueueState, error) {
	if b.pooled.Load() {
		// It also follows the server.
		states, err := b.Probe(ctx, []string{queue})
		if err != nil {
			return queues.QueueState{}, err
		}
		return states[0], states[0].Err
	}
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	state := queues.QueueState{Queue: queue}
	err := b.withLayout(ctx, b.work, queue, func(l *layout) error {
		var wait, due *int64
		err := b.work.QueryRow(ctx, "SELECT "+outlook(l, 1), b.once, b.floors.forProbe(l.key)).Scan(&wait, &due)
		look(&state, wait, due)
		return err
	})
	if err != nil {
		return queues.QueueState{}, fmt.Errorf("look ahead in queue %q: %w", queue, err)
	}
	return state, nil
}
