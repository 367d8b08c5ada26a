package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/internal/checkup"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

func (e *exam) schema(ctx context.Context) ([]checkup.Finding, error) {
	var info schema.Info
	err := e.read(ctx, func(tx pgx.Tx) (err error) {
		info, err = schema.Inspect(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return aboutSchema(info), nil
}

// errNoSchema is why a check that reads pgmq's tables cannot run; the finding
// with the fix is that of the check "schema".
var errNoSchema = errors.New("there is no schema pgmq")

func aboutSchema(info schema.Info) []checkup.Finding {
	switch state := info.State(); {
	case info.Kind == schema.None:
		return []checkup.Finding{{
			Severity: checkup.Error, Seen: "there is no schema pgmq in this database",
			Why:   "queues live in it",
			Fixes: []checkup.Fix{command("stephost queue install")},
		}}
	case info.Kind == schema.Extension:
		return checkup.Fine("the extension pgmq %s, used as it is", info.Version)
	case info.Kind == schema.Foreign && info.HasMeta:
		return checkup.Fine("a schema pgmq that was installed from SQL, used as it is")
	case info.Kind == schema.Foreign:
		return []checkup.Finding{{
			Severity: checkup.Error, Seen: "schema pgmq has no table of queues: it is not pgmq's",
			Why:   "stephost touches no schema of others, and cannot make its own under the same name",
			Fixes: []checkup.Fix{sql("ALTER SCHEMA pgmq RENAME TO pgmq_moved_away"), command("stephost queue install")},
		}}
	case state == schema.Older:
		return []checkup.Finding{{
			Severity: checkup.Warning, Seen: fmt.Sprintf("stephost's schema, version %s; this program brings %d", info.Version, schema.Version),
			Why:   "what the newer version mends or speeds up is not there",
			Fixes: []checkup.Fix{command("stephost queue install")},
		}}
	case state == schema.Newer:
		return []checkup.Finding{{
			Severity: checkup.Warning, Seen: fmt.Sprintf("stephost's schema, version %s; this program knows %d", info.Version, schema.Version),
			Why:   "a newer stephost works on this database, and this one was not tested with it",
			Fixes: []checkup.Fix{advice("run the newer stephost here too")},
		}}
	}
	return checkup.Fine("stephost's schema, version %s", info.Version)
}

// queueTable is a queue's table as the catalog has it.
type queueTable struct {
	Queue   string // as it was asked for
	Key     string // in lower case
	OID     uint32
	Name    string // quoted
	Archive bool
	Kind    string // r: a table, p: partitioned
	Persist string // u: unlogged
	VtIndex string // quoted and qualified, or ""
	Columns []string
	Types   []string
	Options []string
}

func (q queueTable) column(name string) string {
	if at := slices.Index(q.Columns, name); at >= 0 {
		return q.Types[at]
	}
	return ""
}

// tables are those of the named queues that exist.
func (e *exam) tables(ctx context.Context, names []string) ([]queueTable, error) {
	return rows(ctx, e, pgx.RowToStructByPos[queueTable], `
		SELECT n.name, lower(n.name), c.oid, 'pgmq.' || quote_ident(c.relname),
		       EXISTS (SELECT FROM pg_catalog.pg_class a WHERE a.relnamespace = c.relnamespace AND a.relkind IN ('r', 'p') AND a.relname = 'a_' || lower(n.name)),
		       c.relkind::text, c.relpersistence::text,
		       coalesce((SELECT 'pgmq.' || quote_ident(i.relname) FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
		                 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0] AND a.attname = 'vt'
		                 WHERE x.indrelid = c.oid AND x.indisvalid AND x.indpred IS NULL ORDER BY x.indnatts, i.relname LIMIT 1), ''),
		       coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}'),
		       coalesce((SELECT array_agg(format_type(a.atttypid, NULL) ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}'),
		       coalesce(c.reloptions, '{}')
		FROM unnest($1::text[]) WITH ORDINALITY AS n(name, place)
		JOIN pg_catalog.pg_class c ON c.relname = 'q_' || lower(n.name) AND c.relkind IN ('r', 'p')
		JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace AND s.nspname = 'pgmq'
		ORDER BY n.place`, names)
}

// queues finds those that are missing, and names that cannot be.
func (e *exam) queues(ctx context.Context) ([]checkup.Finding, error) {
	if len(e.Queues) == 0 {
		return nil, checkup.Skip("no namespace is known")
	}
	tables, err := e.tables(ctx, e.names())
	if err != nil {
		return nil, err
	}
	exists := func(name string) bool {
		return slices.ContainsFunc(tables, func(q queueTable) bool { return q.Queue == name })
	}
	var found []checkup.Finding
	missing := func(severity checkup.Severity, what, name, namespace, why string) {
		if name == "" || exists(name) {
			return
		}
		f := checkup.Finding{
			Severity: severity, Seen: fmt.Sprintf("the %s %q of namespace %q does not exist", what, name, namespace), Why: why,
			Fixes: []checkup.Fix{command("stephost queue create %s", name)},
		}
		if err := queues.CheckName(name); err != nil {
			f.Severity, f.Why = checkup.Error, fmt.Sprintf("and cannot be created: %v", err)
			f.Fixes = []checkup.Fix{edit("namespace %q {\n  %s = \"a_shorter_name\"\n}", namespace, map[string]string{"queue": "queue", "result queue": "result_queue", "dead-letter queue": "dead_letter"}[what])}
		}
		if !slices.ContainsFunc(found, func(have checkup.Finding) bool { return slices.Equal(have.Fixes, f.Fixes) }) {
			found = append(found, f)
		}
	}
	for _, q := range e.Queues {
		missing(checkup.Error, "queue", q.Name, q.Namespace, "the namespace gets no messages")
		missing(checkup.Error, "result queue", q.Result, q.Namespace, "a step whose result cannot be sent is not settled, and runs again")
		missing(checkup.Warning, "dead-letter queue", q.Dead, q.Namespace, "a host creates it when it needs it, if its role may")
	}
	if len(found) == 0 {
		return checkup.Fine("%d queues of %d namespaces, with their results and dead letters, are in this database", len(tables), len(e.Queues)), nil
	}
	return found, nil
}

// queueTables looks at how the tables are made.
func (e *exam) queueTables(ctx context.Context) ([]checkup.Finding, error) {
	tables, err := e.tables(ctx, e.names())
	if err != nil {
		return nil, err
	}
	var found []checkup.Finding
	for _, q := range tables {
		found = append(found, e.table(q)...)
	}
	if len(found) == 0 {
		return checkup.Fine("%d tables have the columns, the index and the archive that they need", len(tables)), nil
	}
	return found, nil
}

func (e *exam) table(q queueTable) (found []checkup.Finding) {
	for _, want := range []struct{ column, kind string }{
		{"msg_id", "bigint"}, {"read_ct", "integer"}, {"enqueued_at", "timestamp with time zone"},
		{"vt", "timestamp with time zone"}, {"message", "jsonb"},
	} {
		switch have := q.column(want.column); have {
		case want.kind:
		case "":
			found = append(found, checkup.Finding{
				Severity: checkup.Error, Seen: fmt.Sprintf("%s has no column %s", q.Name, want.column),
				Why:   "no message of this queue can be claimed",
				Fixes: []checkup.Fix{sql("ALTER TABLE %s ADD COLUMN %s %s%s", q.Name, want.column, want.kind, columnDefault(want.column))},
			})
		default:
			found = append(found, checkup.Finding{
				Severity: checkup.Error, Seen: fmt.Sprintf("column %s of %s is of type %s", want.column, q.Name, have),
				Why:   "pgmq's is " + want.kind + "; statements of stephost fail on another type",
				Fixes: []checkup.Fix{sql("ALTER TABLE %s ALTER COLUMN %s TYPE %s USING %s::%s", q.Name, want.column, want.kind, want.column, want.kind)},
			})
		}
	}
	if q.column("vt") != "" && q.VtIndex == "" {
		found = append(found, checkup.Finding{
			Severity: checkup.Warning, Seen: q.Name + " has no index on vt",
			Why:   "every claim and every poll reads the whole table",
			Fixes: []checkup.Fix{sql("CREATE INDEX CONCURRENTLY %s ON %s (vt)", ident("q_"+q.Key+"_vt_idx"), q.Name)},
		})
	}
	consumed := slices.ContainsFunc(e.Queues, func(have Queue) bool { return strings.EqualFold(have.Name, q.Queue) })
	if consumed && !q.Archive && e.OnComplete != pgmq.Delete {
		found = append(found, checkup.Finding{
			Severity: checkup.Error, Seen: fmt.Sprintf("queue %q has no archive table pgmq.%s", q.Queue, ident("a_"+q.Key)),
			Why:   "completed steps cannot be settled, and run again",
			Fixes: []checkup.Fix{sql("%s", archiveOf(q)), edit("queue \"pgmq\" {\n  on_complete = \"delete\" # instead, where no archive is wanted\n}")},
		})
	}
	if q.Persist == "u" {
		found = append(found, checkup.Finding{
			Severity: checkup.Warning, Seen: q.Name + " is an unlogged table",
			Why:   "when the server crashes, all of its messages are gone",
			Fixes: []checkup.Fix{sql("ALTER TABLE %s SET LOGGED", q.Name)},
		})
	}
	if q.Kind == "p" {
		found = append(found, checkup.Finding{
			Severity: checkup.Warning, Seen: q.Name + " is partitioned",
			Why:   "stephost is not tested with partitioned queues",
			Fixes: []checkup.Fix{advice("create a queue that is not, and let producers use that one")},
		})
	}
	return found
}

func columnDefault(column string) string {
	switch column {
	case "msg_id":
		return " GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
	case "read_ct":
		return " NOT NULL DEFAULT 0"
	case "enqueued_at", "vt":
		return " NOT NULL DEFAULT now()"
	}
	return ""
}

// archiveOf makes the archive as pgmq does: with the queue's columns.
func archiveOf(q queueTable) string {
	columns := "msg_id bigint PRIMARY KEY, read_ct integer NOT NULL DEFAULT 0, enqueued_at timestamptz NOT NULL DEFAULT now(), "
	if q.column("last_read_at") != "" {
		columns += "last_read_at timestamptz, "
	}
	columns += "archived_at timestamptz NOT NULL DEFAULT now(), vt timestamptz NOT NULL, message jsonb"
	if q.column("headers") != "" {
		columns += ", headers jsonb"
	}
	return fmt.Sprintf("CREATE TABLE pgmq.%s (%s)", ident("a_"+q.Key), columns)
}

// grants compares what the role has with what a host needs.
func (e *exam) grants(ctx context.Context) ([]checkup.Finding, error) {
	var needed, missing []pgmq.Privilege
	err := e.read(ctx, func(tx pgx.Tx) (err error) {
		if needed, err = pgmq.Privileges(ctx, tx, e.workload(), pgmq.HostTasks()...); err != nil {
			return err
		}
		missing, err = pgmq.MissingPrivileges(ctx, tx, needed)
		return err
	})
	if err != nil {
		return nil, err
	}
	var found []checkup.Finding
	for _, p := range missing {
		tasks := make([]string, len(p.Tasks))
		for i, task := range p.Tasks {
			tasks[i] = string(task)
		}
		found = append(found, checkup.Finding{
			Severity: checkup.Error, Seen: fmt.Sprintf("role %q lacks %s", e.role, p),
			Why:   "without it a host cannot " + strings.Join(tasks, ", "),
			Fixes: []checkup.Fix{sql("%s", p.Grant(e.role))},
		})
	}
	if len(found) == 0 {
		return checkup.Fine("role %q has the %d privileges that a host needs", e.role, len(needed)), nil
	}
	return found, nil
}
