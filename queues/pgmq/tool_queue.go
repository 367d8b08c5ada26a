package pgmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stephost/stephost/queues"
)

// notifyThrottle is the least time between two notifications of a queue, in
// milliseconds. Without one every insert updates the same row, which makes
// producers wait for each other.
const notifyThrottle = 250

// maxNameInMessage is how much of a name that is none is repeated, in bytes.
const maxNameInMessage = 100

// CreateQueue creates a queue with pgmq.create and lets its inserts notify,
// where the installed pgmq can. created is false when the queue was there
// already; its notifications are then enabled all the same. A queue that was
// created has the settings of TuneQueue.
func (b *Broker) CreateQueue(ctx context.Context, name string) (created bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	created, err = b.createQueue(ctx, b.work, name)
	if err != nil {
		return false, err
	}
	err = pgx.BeginFunc(ctx, b.work, func(tx pgx.Tx) error { return enableNotify(ctx, tx, name) })
	// Someone else has just enabled it.
	if code := sqlState(err); err != nil && code != "42710" && code != "23505" {
		return created, fmt.Errorf("enable notifications of queue %q: %w", name, b.explainCreation(err))
	}
	if !created {
		return false, nil
	}
	_, err = b.TuneQueue(ctx, name)
	// pgmq.create may be set up to run as another user, who owns the tables then.
	if _, foreign := errors.AsType[*NotOwnerError](err); err != nil && !foreign {
		return true, err
	}
	return true, nil
}

func (b *Broker) createQueue(ctx context.Context, db *pgxpool.Pool, name string) (created bool, err error) {
	if err := queues.CheckName(name); err != nil {
		return false, fmt.Errorf("create queue %q: %w", queues.Text(name, maxNameInMessage), err)
	}
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if err := lockQueue(ctx, tx, name); err != nil {
			return err
		}
		found, err := readLayouts(ctx, tx, []string{name})
		if err != nil {
			return err
		}
		if created = found[name] == nil; !created {
			return nil
		}
		_, err = tx.Exec(ctx, `SELECT pgmq.create($1::text)`, name)
		return err
	})
	switch sqlState(err) {
	case "42P07", "42710", "23505":
		// pgmq before 1.6 takes no lock: someone else has just created it.
		created, err = false, nil
	}
	if err != nil {
		return false, fmt.Errorf("create queue %q: %w", name, b.explainCreation(err))
	}
	b.forgetQueue(name)
	return created, nil
}

func (b *Broker) forgetQueue(name string) {
	b.layouts.drop(name)
	b.forgetExistence(name)
}

// lockQueue takes the lock that pgmq itself takes since 1.6.
func lockQueue(ctx context.Context, tx pgx.Tx, name string) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('pgmq.queue_' || $1::text))`, name)
	return err
}

// enableNotify does nothing where it is enabled, because enabling anew locks
// the table and resets the throttle. The one-argument overload of 1.7 stays
// behind in upgraded databases, so two arguments are passed where they can be.
func enableNotify(ctx context.Context, tx pgx.Tx, name string) error {
	if err := lockQueue(ctx, tx, name); err != nil {
		return err
	}
	var (
		arguments *int
		enabled   bool
	)
	err := tx.QueryRow(ctx, `
		SELECT (SELECT max(p.pronargs) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
		        WHERE n.nspname = 'pgmq' AND p.proname = 'enable_notify_insert'),
		       EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
		               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		               WHERE n.nspname = 'pgmq' AND c.relname::text = 'q_' || lower($1::text)
		                 AND t.tgname = 'trigger_notify_queue_insert_listeners')`, name).Scan(&arguments, &enabled)
	if err != nil || enabled || arguments == nil {
		return err
	}
	if *arguments >= 2 {
		_, err = tx.Exec(ctx, `SELECT pgmq.enable_notify_insert($1::text, $2::int)`, name, notifyThrottle)
	} else {
		_, err = tx.Exec(ctx, `SELECT pgmq.enable_notify_insert($1::text)`, name)
	}
	return err
}

// DropQueue drops a queue with its messages and its archive. It returns false
// when there was none.
func (b *Broker) DropQueue(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	defer b.forgetQueue(name)
	found, err := readLayouts(ctx, b.work, []string{name})
	if err != nil {
		return false, fmt.Errorf("drop queue %q: %w", name, b.explain(err))
	}
	if found[name] == nil {
		return false, nil
	}
	err = pgx.BeginFunc(ctx, b.work, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pgmq.drop_queue($1::text)`, name); err != nil {
			return err
		}
		return forgetBookkeeping(ctx, tx, found[name])
	})
	if err != nil {
		return false, fmt.Errorf("drop queue %q: %w", name, b.explain(err))
	}
	return true, nil
}

func forgetBookkeeping(ctx context.Context, tx pgx.Tx, l *layout) error {
	if l.headers {
		return nil
	}
	var exists bool
	if err := tx.QueryRow(ctx, `SELECT to_regclass('`+bookkeepingTable+`') IS NOT NULL`).Scan(&exists); err != nil || !exists {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM `+bookkeepingTable+` WHERE queue = $1`, l.key)
	return err
}

// Purge deletes every message of a queue, as pgmq.purge_queue does: leased ones
// too, whose handlers then lose their lease. The archive is left alone. Unlike
// purge_queue it does not lock the table against everybody else.
func (b *Broker) Purge(ctx context.Context, queue string) (int64, error) {
	var purged int64
	err := b.withLayout(ctx, b.work, queue, func(l *layout) error {
		return pgx.BeginFunc(ctx, b.work, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, `DELETE FROM `+l.q)
			if err != nil {
				return err
			}
			purged = tag.RowsAffected()
			return forgetBookkeeping(ctx, tx, l)
		})
	})
	if err != nil {
		return 0, fmt.Errorf("purge queue %q: %w", queue, err)
	}
	return purged, nil
}

// countCap is where ListQueues stops counting.
const countCap = 10_000

// QueueInfo describes a queue. Counts stop at 10,000; Capped says that one of
// them did.
type QueueInfo struct {
	Name      string
	CreatedAt time.Time
	// Visible messages can be claimed now; Invisible ones are leased or delayed.
	Visible, Invisible, Archived int64
	Capped                       bool
	// OldestWait is how long the oldest claimable message has been visible.
	OldestWait time.Duration
	// Notifies tells whether an insert is announced.
	Notifies bool
}

// ListQueues describes all queues, sorted by name. A queue that is dropped
// meanwhile is left out.
func (b *Broker) ListQueues(ctx context.Context) ([]QueueInfo, error) {
	infos, err := b.queueNames(ctx)
	if err != nil {
		if code := sqlState(err); code == "42P01" || code == "3F000" {
			return nil, fmt.Errorf("list queues: %w", errNoPGMQ)
		}
		return nil, fmt.Errorf("list queues: %w", b.explain(err))
	}
	listed := infos[:0]
	for _, info := range infos {
		err := b.withLayout(ctx, b.work, info.Name, func(l *layout) error { return b.count(ctx, l, &info) })
		if errors.Is(err, queues.ErrQueueMissing) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list queues: count %q: %w", info.Name, err)
		}
		listed = append(listed, info)
	}
	return listed, nil
}

func (b *Broker) queueNames(ctx context.Context) ([]QueueInfo, error) {
	rows, err := b.work.Query(ctx, `
		SELECT m.queue_name::text, m.created_at,
		       EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
		               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		               WHERE n.nspname = 'pgmq' AND c.relname::text = 'q_' || lower(m.queue_name)
		                 AND t.tgname = 'trigger_notify_queue_insert_listeners' AND t.tgenabled <> 'D')
		FROM pgmq.meta m ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (info QueueInfo, err error) {
		return info, row.Scan(&info.Name, &info.CreatedAt, &info.Notifies)
	})
}

func (b *Broker) count(ctx context.Context, l *layout, info *QueueInfo) error {
	bounded := func(from string) string {
		return fmt.Sprintf(`(SELECT count(*) FROM (SELECT 1 FROM %s LIMIT %d) c)`, from, countCap)
	}
	archived := "0::bigint"
	if l.archive {
		archived = bounded(l.a)
	}
	var wait *int64
	err := b.work.QueryRow(ctx, `SELECT `+bounded(l.q+` WHERE vt <= statement_timestamp()`)+`, `+bounded(l.q+` WHERE vt > statement_timestamp()`)+`, `+archived+`,
		(SELECT (extract(epoch FROM statement_timestamp() - vt) * 1000000)::bigint FROM `+l.q+` WHERE vt <= statement_timestamp() ORDER BY vt LIMIT 1)`).
		Scan(&info.Visible, &info.Invisible, &info.Archived, &wait)
	if err != nil {
		return err
	}
	info.Capped = max(info.Visible, info.Invisible, info.Archived) >= countCap
	if wait != nil {
		info.OldestWait = time.Duration(*wait) * time.Microsecond
	}
	return nil
}
