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

const (
	// One statement holds two locks for each queue that it looks at until it
	// ends; a few dozen stay within the server's lock table.
	probeChunk = 64
	// How long to wait for a locked table, and how long while finding out which
	// one it is.
	probeLockTimeout   = 200 * time.Millisecond
	isolateLockTimeout = 20 * time.Millisecond
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
	var present []int
	for i, name := range names {
		states[i] = queues.QueueState{Queue: name, NextDue: -1, Missing: found[name] == nil}
		if !states[i].Missing {
			present = append(present, i)
		}
	}
	p := prober{conn: conn, found: found, states: states}
	for len(present) > 0 {
		n := min(len(present), probeChunk)
		if err := p.chunk(ctx, present[:n], probeLockTimeout); err != nil {
			return nil, fmt.Errorf("probe queues: %w", b.explain(err))
		}
		present = present[n:]
	}
	for i := range states {
		states[i].Err = b.explain(states[i].Err)
	}
	return states, nil
}

type prober struct {
	conn   *pgxpool.Conn
	found  map[string]*layout
	states []queues.QueueState
}

// chunk probes some of the queues, and halves them when one is in the way. Its
// error is for a database that does not answer.
func (p *prober) chunk(ctx context.Context, at []int, lockTimeout time.Duration) error {
	err := p.ask(ctx, at, lockTimeout)
	switch {
	case err == nil:
		return nil
	case sqlState(err) == "" || ctx.Err() != nil || strings.HasPrefix(sqlState(err), "57P") || strings.HasPrefix(sqlState(err), "08"):
		return err
	case len(at) > 1:
		half := len(at) / 2
		if err := p.chunk(ctx, at[:half], isolateLockTimeout); err != nil {
			return err
		}
		return p.chunk(ctx, at[half:], isolateLockTimeout)
	}
	state := &p.states[at[0]]
	if sqlState(err) == "42P01" {
		state.Missing = true
		return nil
	}
	state.Err = fmt.Errorf("probe queue %q: %w", state.Queue, err)
	return nil
}

func (p *prober) ask(ctx context.Context, at []int, lockTimeout time.Duration) error {
	var sql strings.Builder
	for i, index := range at {
		q := p.found[p.states[index].Queue].q
		if i > 0 {
			sql.WriteString(" UNION ALL ")
		}
		fmt.Fprintf(&sql, `SELECT %d, (SELECT (extract(epoch FROM statement_timestamp() - vt) * 1000000)::bigint FROM %s WHERE vt <= statement_timestamp() ORDER BY vt LIMIT 1),
			(SELECT (extract(epoch FROM vt - statement_timestamp()) * 1000000)::bigint FROM %s WHERE vt > statement_timestamp() ORDER BY vt LIMIT 1)`, i, q, q)
	}
	return pgx.BeginTxFunc(ctx, p.conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", lockTimeout.Milliseconds())); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sql.String())
		if err != nil {
			return err
		}
		var (
			i         int
			wait, due *int64
		)
		_, err = pgx.ForEachRow(rows, []any{&i, &wait, &due}, func() error {
			state := &p.states[at[i]]
			state.Visible, state.OldestWait, state.NextDue = wait != nil, 0, -1
			if wait != nil {
				state.OldestWait = time.Duration(*wait) * time.Microsecond
			}
			if due != nil {
				state.NextDue = time.Duration(*due) * time.Microsecond
			}
			return nil
		})
		return err
	})
}
