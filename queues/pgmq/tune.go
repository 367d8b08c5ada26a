package pgmq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/queues"
)

// StorageSetting is a storage parameter of a table, as ALTER TABLE … SET takes
// it.
type StorageSetting struct {
	Table string // quoted, with its schema
	Name  string
	Value string
}

// String is a statement that sets it.
func (s StorageSetting) String() string {
	return fmt.Sprintf("ALTER TABLE %s SET (%s = %s)", s.Table, s.Name, s.Value)
}

// queueSettings are for a table through which everything goes: a message leaves
// three dead rows behind, though the table may never be large. PostgreSQL waits
// for a fifth of the rows, which is late where a backlog is large, and vacuums
// with pauses, which is slower than they come. There is no fillfactor, since vt
// is indexed and no update of it is HOT.
func queueSettings() []StorageSetting {
	return []StorageSetting{
		{Name: "autovacuum_vacuum_scale_factor", Value: "0.01"},
		{Name: "autovacuum_vacuum_threshold", Value: "100"},
		{Name: "autovacuum_vacuum_cost_delay", Value: "0"},
		{Name: "toast.autovacuum_vacuum_scale_factor", Value: "0.01"},
		{Name: "toast.autovacuum_vacuum_threshold", Value: "100"},
		{Name: "toast.autovacuum_vacuum_cost_delay", Value: "0"},
	}
}

// archiveSettings are for a table that only grows at one end and is cut at the
// other: it is large, so a fifth of it is much, both of what was inserted, for
// the visibility map that counting by the index needs, and of what was deleted,
// whose space is to be used again.
func archiveSettings() []StorageSetting {
	return []StorageSetting{
		{Name: "autovacuum_vacuum_scale_factor", Value: "0.02"},
		{Name: "autovacuum_vacuum_insert_scale_factor", Value: "0.02"},
		{Name: "toast.autovacuum_vacuum_scale_factor", Value: "0.02"},
		{Name: "toast.autovacuum_vacuum_insert_scale_factor", Value: "0.02"},
	}
}

// Tuning says which settings a queue has.
type Tuning struct {
	// Missing are those that are left to the server's defaults.
	Missing []StorageSetting
	// Ours are as TuneQueue sets them, Others were set to something else by
	// somebody, who will have had a reason.
	Ours, Others []StorageSetting
}

// NotOwnerError says that only the owner of a table can change its settings.
type NotOwnerError struct{ Table, Owner, User string }

func (e *NotOwnerError) Error() string {
	return fmt.Sprintf("only the owner of %s can change its settings: connect as %q (this is %q)", e.Table, e.Owner, e.User)
}

// ErrQueuePartitioned is wrapped when the tables of a queue are partitioned:
// only the partitions have storage parameters, and pg_partman makes new ones.
var ErrQueuePartitioned = errors.New("its tables are partitioned, and only partitions have such settings: set them in pg_partman's template table")

// tuneLockTimeout is longer than the second after which the server takes an
// autovacuum off a table that somebody wants to change.
const tuneLockTimeout = 5 * time.Second

// QueueTuning tells which autovacuum settings the tables of a queue have, and
// which they lack.
func (b *Broker) QueueTuning(ctx context.Context, queue string) (Tuning, error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	t, err := readTuning(ctx, b.work, queue)
	if err != nil {
		return Tuning{}, fmt.Errorf("read the settings of queue %q: %w", queue, b.explain(err))
	}
	return t, nil
}

// TuneQueue gives the tables of a queue the autovacuum settings that they lack,
// and returns those. It waits for no running statement but for a vacuum, five
// seconds at most, and others need not wait for it. The error is a
// *NotOwnerError when the user does not own the tables.
func (b *Broker) TuneQueue(ctx context.Context, queue string) ([]StorageSetting, error) {
	return b.changeTuning(ctx, queue, "tune", func(t Tuning) ([]StorageSetting, string) { return t.Missing, "SET" })
}

// ResetQueueTuning takes the settings back that are as TuneQueue sets them, and
// returns those.
func (b *Broker) ResetQueueTuning(ctx context.Context, queue string) ([]StorageSetting, error) {
	return b.changeTuning(ctx, queue, "reset", func(t Tuning) ([]StorageSetting, string) { return t.Ours, "RESET" })
}

func (b *Broker) changeTuning(ctx context.Context, queue, doing string, which func(Tuning) ([]StorageSetting, string)) (changed []StorageSetting, err error) {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, b.work, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT set_config('lock_timeout', $1::text, true)`, milliseconds(tuneLockTimeout)); err != nil {
			return err
		}
		t, err := readTuning(ctx, tx, queue)
		if err != nil {
			return err
		}
		var verb string
		changed, verb = which(t)
		return alterSettings(ctx, tx, changed, verb)
	})
	switch sqlState(err) {
	case "42501":
		err = b.notOwner(ctx, queue, err)
	case "55P03":
		err = fmt.Errorf("somebody works on its tables, try again: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s queue %q: %w", doing, queue, b.explain(err))
	}
	return changed, nil
}

// alterSettings changes each table once.
func alterSettings(ctx context.Context, tx pgx.Tx, settings []StorageSetting, verb string) error {
	var tables []string
	lists := make(map[string][]string)
	for _, s := range settings {
		item := s.Name
		if verb == "SET" {
			item += " = " + s.Value
		}
		if lists[s.Table] == nil {
			tables = append(tables, s.Table)
		}
		lists[s.Table] = append(lists[s.Table], item)
	}
	for _, table := range tables {
		if _, err := tx.Exec(ctx, `ALTER TABLE `+table+` `+verb+` (`+strings.Join(lists[table], ", ")+`)`); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) notOwner(ctx context.Context, queue string, cause error) error {
	var e NotOwnerError
	err := b.work.QueryRow(ctx, `SELECT c.oid::regclass::text, pg_catalog.pg_get_userbyid(c.relowner), current_user::text
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'pgmq' AND c.relname::text IN ('q_' || lower($1::text), 'a_' || lower($1::text)) AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
		ORDER BY c.relname DESC LIMIT 1`, queue).Scan(&e.Table, &e.Owner, &e.User)
	if err != nil {
		return cause
	}
	return &e
}

func readTuning(ctx context.Context, db querier, queue string) (Tuning, error) {
	found, err := readLayouts(ctx, db, []string{queue})
	if err != nil {
		return Tuning{}, err
	}
	l := found[queue]
	if l == nil {
		return Tuning{}, &queues.MissingQueueError{Queue: queue}
	}
	var t Tuning
	if err := t.read(ctx, db, l.q, queueSettings()); err != nil {
		return Tuning{}, err
	}
	if l.archive {
		err = t.read(ctx, db, l.a, archiveSettings())
	}
	return t, err
}

// read sorts the settings that a table should have by what it has.
func (t *Tuning) read(ctx context.Context, db querier, table string, wanted []StorageSetting) error {
	rows, err := db.Query(ctx, `SELECT c.relkind = 'p', coalesce(c.reloptions, '{}')::text[], t.oid IS NOT NULL, coalesce(t.reloptions, '{}')::text[]
		FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
		WHERE c.oid = $1::text::regclass`, table)
	if err != nil {
		return err
	}
	type options struct {
		Partitioned bool
		Main        []string
		HasToast    bool
		Toast       []string
	}
	o, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[options])
	if err != nil {
		return err
	}
	if o.Partitioned {
		return ErrQueuePartitioned
	}
	has := make(map[string]string)
	for _, option := range o.Main {
		name, value, _ := strings.Cut(option, "=")
		has[name] = value
	}
	for _, option := range o.Toast {
		name, value, _ := strings.Cut(option, "=")
		has["toast."+name] = value
	}
	for _, s := range wanted {
		s.Table = table
		if strings.HasPrefix(s.Name, "toast.") && !o.HasToast {
			continue
		}
		switch value, set := has[s.Name]; {
		case !set:
			t.Missing = append(t.Missing, s)
		case value == s.Value:
			t.Ours = append(t.Ours, s)
		default:
			s.Value = value
			t.Others = append(t.Others, s)
		}
	}
	return nil
}
