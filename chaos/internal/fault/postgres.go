package fault

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/internal/wait"
)

// postgres are the faults of the server as a whole.
func postgres() []Fault {
	return []Fault{{
		Name:   "postgres-crash",
		About:  "immediate shutdown of PostgreSQL, and a restart after a while",
		Inject: crashPostgres,
		Cost:   Cost{Again: May},
	}, {
		Name:   "postgres-forgets-claims",
		About:  "kill -9 of PostgreSQL with claims that are committed and not on the disk",
		Shape:  func(o *world.Options) { o.Hosts, o.Server = 2, map[string]string{"bgwriter_lru_maxpages": "0"} },
		Inject: forgetClaims,
		Cost:   Cost{Again: Must},
	}}
}

func crashPostgres(ctx context.Context, w *world.World) (string, error) {
	before, err := startedAt(ctx, w)
	if err != nil {
		return "", err
	}
	w.Postgres.Crash()
	if err := wait.For(ctx, w.Hold/4); err != nil {
		return "", err
	}
	if err := w.Postgres.Restart(ctx); err != nil {
		return "", err
	}
	w.Over()
	return fmt.Sprintf("down for %s", w.Hold/4), restarted(ctx, w, before)
}

// startedAt is the start time of the server that runs.
func startedAt(ctx context.Context, w *world.World) (at time.Time, err error) {
	err = w.DB.QueryRow(ctx, `SELECT pg_postmaster_start_time()`).Scan(&at)
	return at, err
}

// restarted checks that another server runs now.
func restarted(ctx context.Context, w *world.World, before time.Time) error {
	w.DB.Reset()
	after, err := startedAt(ctx, w)
	if err == nil && !after.After(before) {
		err = errors.New("it is the same server still")
	}
	return err
}

// forgottenClaims is how many messages are being executed at the moment of the
// crash, and forgottenFor how long each of them takes.
const (
	forgottenClaims = 40
	forgottenFor    = 2 * time.Second
)

// forgetClaims kills the server when nothing has been committed after the
// claims that would have taken them to the disk along. The messages become
// visible only once the load has been stopped.
func forgetClaims(ctx context.Context, w *world.World) (string, error) {
	before, err := startedAt(ctx, w)
	if err != nil {
		return "", err
	}
	const visibleIn = 1500 * time.Millisecond
	ids, err := sendLater(ctx, w, forgottenClaims, forgottenFor, visibleIn)
	if err != nil {
		return "", err
	}
	// The load waits for the ledger.
	blocked, err := connect(ctx, w)
	if err != nil {
		return "", err
	}
	defer blocked.close()
	if err := blocked.exec(ctx, `BEGIN; LOCK TABLE chaos.sent IN EXCLUSIVE MODE`); err != nil {
		return "", err
	}
	writer, err := stopWALWriter(ctx, w)
	if err != nil {
		return "", err
	}
	err = w.Until(ctx, "the messages are claimed", func() (bool, error) {
		claimed, err := number(ctx, w, `SELECT count(*) FROM pgmq.q_`+ledger.Queue+` WHERE read_ct > 0 AND (message->>'id')::bigint = ANY($1)`, ids)
		return claimed == len(ids), err
	})
	if err != nil {
		return "", errors.Join(err, syscall.Kill(writer, syscall.SIGCONT))
	}
	behind, err := number(ctx, w, `SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn()`)
	if err := errors.Join(err, syscall.Kill(w.Postgres.Pid(), syscall.SIGKILL), syscall.Kill(writer, syscall.SIGKILL)); err != nil {
		return "", err
	}
	w.Postgres.Crash() // it has been killed: this waits for its end
	err = w.Until(ctx, "the server starts", func() (bool, error) {
		// What the killed one left behind may need a moment to end.
		return w.Postgres.Restart(ctx) == nil, ctx.Err()
	})
	if err != nil {
		return "", err
	}
	w.Over()
	if behind == 0 {
		return "", errors.New("the claims were on the disk")
	}
	return fmt.Sprintf("%d claims forgotten", len(ids)), restarted(ctx, w, before)
}

// sendLater sends messages that take some time each and become visible together.
func sendLater(ctx context.Context, w *world.World, n int, work, in time.Duration) (ids []int64, err error) {
	messages := make([]ledger.Message, n)
	for i := range messages {
		id := w.Load.NewID()
		ids, messages[i] = append(ids, id), ledger.New(id, int(work.Milliseconds()))
	}
	tx, err := w.DB.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if err := ledger.Send(ctx, tx, messages...); err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, `UPDATE pgmq.q_`+ledger.Queue+` SET vt = clock_timestamp() + $2::bigint * interval '1 microsecond' WHERE (message->>'id')::bigint = ANY($1)`,
		ids, in.Microseconds())
	if err != nil {
		return nil, err
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, err
	}
	w.Load.Ack(ids...)
	return ids, nil
}

// stopWALWriter keeps the process from running that brings asynchronous commits
// to the disk.
func stopWALWriter(ctx context.Context, w *world.World) (pid int, err error) {
	pid, err = number(ctx, w, `SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'`)
	if err != nil {
		return 0, err
	}
	return pid, syscall.Kill(pid, syscall.SIGSTOP)
}
