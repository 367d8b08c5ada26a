package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/internal/wait"
)

// tables are the faults of the queue's table and of what others do with it.
func tables() []Fault {
	return []Fault{{
		Name:   "queue-locked",
		About:  "ACCESS EXCLUSIVE lock on the queue for longer than the lease, with the smallest pool",
		Shape:  func(o *world.Options) { o.PoolConnections = 3 },
		Inject: lockQueue,
		Cost:   Cost{Again: May},
	}, {
		Name:   "queue-rewritten",
		About:  "VACUUM FULL and REINDEX of the queue's tables in a loop",
		Inject: rewriteQueue,
	}, {
		Name:   "xmin-held",
		About:  "an idle transaction holds the xmin horizon over hundreds of thousands of dead rows; throughput must hold",
		Inject: holdXmin,
	}, {
		Name:   "late-commit",
		About:  "a transaction sends and commits a minute later, below all that was claimed meanwhile",
		Inject: commitLate,
	}}
}

func lockQueue(ctx context.Context, w *world.World) (string, error) {
	locker, err := connect(ctx, w)
	if err != nil {
		return "", err
	}
	defer locker.close()
	if err := locker.exec(ctx, `BEGIN; LOCK TABLE pgmq.q_`+ledger.Queue+` IN ACCESS EXCLUSIVE MODE`); err != nil {
		return "", err
	}
	if err := wait.For(ctx, w.Beyond()); err != nil {
		return "", err
	}
	waiting, err := number(ctx, w, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND `+onHosts)
	if err != nil {
		return "", err
	}
	if waiting == 0 {
		err = errors.New("no host waited for the lock")
	}
	return fmt.Sprintf("locked for %s", w.Beyond()), errors.Join(err, locker.exec(ctx, `COMMIT`))
}

func rewriteQueue(ctx context.Context, w *world.World) (string, error) {
	file := func() (int, error) {
		return number(ctx, w, `SELECT pg_relation_filenode('pgmq.q_`+ledger.Queue+`')::bigint`)
	}
	before, err := file()
	if err != nil {
		return "", err
	}
	rounds, err := looped(ctx, w, 100*time.Millisecond, func(int) error {
		for _, sql := range []string{
			`VACUUM FULL pgmq.q_` + ledger.Queue,
			`REINDEX TABLE pgmq.q_` + ledger.Queue,
			`VACUUM FULL pgmq.a_` + ledger.Queue,
		} {
			if err := do(ctx, w, sql, sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	after, err := file()
	if err == nil && after == before {
		err = errors.New("the table is in the same file still")
	}
	return fmt.Sprintf("rewritten %d times", rounds), err
}

// deadRows is how many rows are dead and cannot be cleaned up while the horizon
// is held: what a day of a busy queue leaves.
const deadRows = 300_000

// holdXmin also leaves dead rows, in front of everything that is claimed.
func holdXmin(ctx context.Context, w *world.World) (string, error) {
	idle, err := connect(ctx, w)
	if err != nil {
		return "", err
	}
	defer idle.close()
	if err := idle.exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class`); err != nil {
		return "", err
	}
	// In one transaction, without triggers: no host ever sees these rows.
	writer, err := connect(ctx, w)
	if err != nil {
		return "", err
	}
	defer writer.close()
	err = writer.exec(ctx, fmt.Sprintf(`
		BEGIN;
		SET LOCAL session_replication_role = replica;
		INSERT INTO pgmq.q_%[1]s (vt, message) SELECT clock_timestamp() - interval '1 hour', '{}' FROM generate_series(1, %[2]d);
		DELETE FROM pgmq.q_%[1]s WHERE vt < clock_timestamp() - interval '30 minutes' AND message = '{}';
		COMMIT`, ledger.Queue, deadRows))
	if err != nil {
		return "", fmt.Errorf("leave dead rows: %w", err)
	}
	pace, err := during(ctx, w, func() error {
		if err := wait.For(ctx, w.Hold); err != nil {
			return err
		}
		return do(ctx, w, "vacuum", `VACUUM pgmq.q_`+ledger.Queue)
	})
	if err != nil {
		return "", err
	}
	dead, err := number(ctx, w, `SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'pgmq.q_`+ledger.Queue+`'::regclass`)
	if err != nil {
		return "", err
	}
	if dead < deadRows {
		err = fmt.Errorf("only %d rows are dead: the horizon was not held", dead)
	} else {
		err = pace.held()
	}
	return fmt.Sprintf("%s, over %d dead rows", pace, dead), errors.Join(err, idle.exec(ctx, `COMMIT`))
}

// lateMessages is how many the late transaction sends.
const lateMessages = 50

// commitLate has a burst before the late commit, so that claims are full and go
// on from where the last one ended instead of from the beginning.
func commitLate(ctx context.Context, w *world.World) (string, error) {
	held := w.Hold
	if w.Name == "long" {
		held = time.Minute
	}
	late, err := connect(ctx, w)
	if err != nil {
		return "", err
	}
	defer late.close()
	messages := batch(w, lateMessages)
	if err := late.exec(ctx, `BEGIN`); err != nil {
		return "", err
	}
	if err := ledger.Send(ctx, late.conn, messages...); err != nil {
		return "", err
	}
	if err := wait.For(ctx, held); err != nil {
		return "", err
	}
	if err := send(ctx, w, batch(w, 3*w.Rate)...); err != nil {
		return "", err
	}
	if err := late.exec(ctx, `COMMIT`); err != nil {
		return "", err
	}
	for _, m := range messages {
		w.Load.Ack(m.ID)
	}
	w.Over()
	committed := time.Now()
	err = settled(ctx, w, messages...)
	return fmt.Sprintf("%d messages %s old, settled %.1f s after the commit", len(messages), held, time.Since(committed).Seconds()), err
}

// batch makes messages of the load's kind that somebody else sends.
func batch(w *world.World, n int) (messages []ledger.Message) {
	for range n {
		messages = append(messages, w.Mix(w.Load.NewID()))
	}
	return messages
}
