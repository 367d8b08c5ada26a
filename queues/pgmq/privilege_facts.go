package pgmq

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// object is something that has an access list.
type object struct {
	oid  int64
	name string // quoted
}

// queueTables are the tables of a queue, as the catalog has them.
type queueTables struct {
	q, a    object // a.oid is 0 where there is no archive
	headers bool
	owners  []object
	// notifies: an insert runs a trigger. definer: with the rights of the
	// trigger function's owner.
	notifies, definer bool
}

// facts are what the privileges depend on.
type facts struct {
	database     object
	schemas      map[string]object
	tables       map[string]object // of the schemas pgmq and stephost, unquoted and qualified
	functions    map[string]object // of pgmq, and pg_notify, by name and argument types
	queues       map[string]*queueTables
	taskerSchema object
	taskerSend   *object // nil: tasker's family is not in use, or its function is not there
	taskerOwn    bool    // with its owner's rights
	tasker       bool
}

func readFacts(ctx context.Context, db Querier, w Workload) (*facts, error) {
	f := &facts{schemas: map[string]object{}, tables: map[string]object{}, functions: map[string]object{}, queues: map[string]*queueTables{}}
	for _, read := range []func(context.Context, Querier, Workload) error{f.readObjects, f.readQueues, f.readTasker} {
		if err := read(ctx, db, w); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *facts) readObjects(ctx context.Context, db Querier, _ Workload) error {
	rows, err := db.Query(ctx, `
		SELECT 'database', oid::bigint, datname::text, quote_ident(datname) FROM pg_catalog.pg_database WHERE datname = current_database()
		UNION ALL
		SELECT 'schema', oid::bigint, nspname::text, quote_ident(nspname) FROM pg_catalog.pg_namespace WHERE nspname IN ('pgmq', 'stephost')
		UNION ALL
		SELECT 'table', c.oid::bigint, n.nspname || '.' || c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE (n.nspname, c.relname) IN (('pgmq', 'meta'), ('pgmq', 'notify_insert_throttle'), ('stephost', 'bookkeeping'))
		UNION ALL
		SELECT 'function', p.oid::bigint, n.nspname || '.' || p.proname || '(' || oidvectortypes(p.proargtypes) || ')',
		       quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '(' || oidvectortypes(p.proargtypes) || ')'
		FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
		WHERE n.nspname = 'pgmq' OR (n.nspname = 'pg_catalog' AND p.proname = 'pg_notify')`)
	if err != nil {
		return err
	}
	var (
		kind, name string
		o          object
	)
	_, err = pgx.ForEachRow(rows, []any{&kind, &o.oid, &name, &o.name}, func() error {
		switch kind {
		case "database":
			f.database = o
		case "schema":
			f.schemas[name] = o
		case "table":
			f.tables[name] = o
		default:
			f.functions[name] = o
		}
		return nil
	})
	return err
}

func (f *facts) readQueues(ctx context.Context, db Querier, w Workload) error {
	var tables []string
	for _, queue := range slices.Concat(w.Consume, w.Send, w.Dead, w.PruneArchives, w.PruneDead) {
		key := strings.ToLower(queue)
		tables = append(tables, "q_"+key, "a_"+key)
	}
	rows, err := db.Query(ctx, `
		SELECT c.relname::text, c.oid::bigint, 'pgmq.' || quote_ident(c.relname), r.oid::bigint, quote_ident(r.rolname),
		       EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'headers' AND a.attnum > 0 AND NOT a.attisdropped),
		       t.tgrelid IS NOT NULL, coalesce(t.prosecdef, false)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
		LEFT JOIN LATERAL (SELECT t.tgrelid, p.prosecdef FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
			WHERE t.tgrelid = c.oid AND t.tgname = 'trigger_notify_queue_insert_listeners' AND t.tgenabled <> 'D') t ON true
		WHERE n.nspname = 'pgmq' AND c.relkind IN ('r', 'p') AND c.relname::text = ANY($1::text[])
		ORDER BY c.relname DESC`, tables)
	if err != nil {
		return err
	}
	var (
		table                      string
		o, owner                   object
		headers, notifies, definer bool
	)
	_, err = pgx.ForEachRow(rows, []any{&table, &o.oid, &o.name, &owner.oid, &owner.name, &headers, &notifies, &definer}, func() error {
		// Descending order brings every q_ before any a_.
		key, isQueue := strings.CutPrefix(table, "q_")
		if isQueue {
			f.queues[key] = &queueTables{q: o, headers: headers, notifies: notifies, definer: definer, owners: []object{owner}}
			return nil
		}
		if q := f.queues[strings.TrimPrefix(table, "a_")]; q != nil {
			q.a = o
			if !slices.Contains(q.owners, owner) {
				q.owners = append(q.owners, owner)
			}
		}
		return nil
	})
	return err
}

func (f *facts) readTasker(ctx context.Context, db Querier, w Workload) error {
	f.tasker = w.Notifications == NotifyTasker
	if w.Notifications == NotifyPGMQ {
		return nil
	}
	rows, err := db.Query(ctx, taskerSendSQL)
	if err != nil {
		return err
	}
	var send object
	var schema, name string
	_, err = pgx.ForEachRow(rows, []any{&schema, &name, &send.oid, &f.taskerSchema.oid, &f.taskerOwn}, func() error {
		send.name = quoteName(schema) + "." + quoteName(name) + "(text, jsonb, integer)"
		f.taskerSchema.name = quoteName(schema)
		f.taskerSend, f.tasker = &send, true
		return nil
	})
	return err
}
