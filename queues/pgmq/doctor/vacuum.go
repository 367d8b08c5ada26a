package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/internal/checkup"
)

// transaction is one that may hold the horizon.
type transaction struct {
	PID                             int
	User, Application, State, Query string
	Hidden                          bool
	Seconds                         float64 // how long it is open; 0 where hidden
	Age                             int64   // of what it holds, in transactions
}

const horizonWhy = "dead rows that it might still see cannot be removed: every claim walks past them, and tables grow"

// horizon finds who keeps vacuum from removing dead rows: sessions, prepared
// transactions, replication slots and the queries of standbys.
func (e *exam) horizon(ctx context.Context) ([]checkup.Finding, error) {
	var found []checkup.Finding
	for _, look := range []func(context.Context) ([]checkup.Finding, error){e.sessions, e.prepared, e.slots, e.standbys} {
		more, err := look(ctx)
		if err != nil {
			return found, err
		}
		found = append(found, more...)
	}
	if len(found) == 0 {
		return checkup.Fine("nobody whose sessions role %q may see holds it for longer than %v, and nobody else for longer than %d transactions",
			e.role, e.Limits.Transaction, e.Limits.Transactions), nil
	}
	return found, nil
}

func (e *exam) sessions(ctx context.Context) ([]checkup.Finding, error) {
	list, err := rows(ctx, e, pgx.RowToStructByPos[transaction], `
		SELECT a.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.state, ''), coalesce(left(a.query, 200), ''),
		       a.xact_start IS NULL, coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8,
		       greatest(age(a.backend_xmin), age(a.backend_xid), 0)::bigint
		FROM pg_catalog.pg_stat_activity a
		WHERE a.pid <> pg_backend_pid() AND a.datname = current_database()
		  AND coalesce(a.backend_type, 'client backend') NOT IN ('autovacuum worker', 'walsender')
		  AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
		ORDER BY 8 DESC, 7 DESC LIMIT 20`)
	if err != nil {
		return nil, err
	}
	var found []checkup.Finding
	for _, t := range list {
		open := time.Duration(t.Seconds * float64(time.Second)).Round(time.Second)
		switch {
		case t.Hidden && t.Age < e.Limits.Transactions || !t.Hidden && t.Seconds < e.Limits.Transaction.Seconds():
			continue
		case t.Hidden:
			found = append(found, checkup.Finding{
				Severity: checkup.Warning,
				Seen:     fmt.Sprintf("pid %d, user %q, application %q, is in a transaction that began %d transactions ago; what it does is hidden from role %q", t.PID, t.User, t.Application, t.Age, e.role),
				Why:      horizonWhy,
				Fixes:    []checkup.Fix{sql("SELECT pg_terminate_backend(%d)", t.PID), sql("GRANT pg_read_all_stats TO %s", ident(e.role))},
			})
			continue
		}
		f := checkup.Finding{
			Severity: checkup.Warning,
			Seen: fmt.Sprintf("pid %d, user %q, application %q, %s, is in a transaction for %v (%d transactions); its query: %s",
				t.PID, t.User, t.Application, t.State, open, t.Age, strings.Join(strings.Fields(t.Query), " ")),
			Why:   horizonWhy,
			Fixes: []checkup.Fix{sql("SELECT pg_terminate_backend(%d)", t.PID)},
		}
		if strings.HasPrefix(t.State, "idle in transaction") {
			f.Fixes = append(f.Fixes, sql("ALTER ROLE %s SET idle_in_transaction_session_timeout = '5min'", ident(t.User)))
		}
		found = append(found, f)
	}
	return found, nil
}

func (e *exam) prepared(ctx context.Context) ([]checkup.Finding, error) {
	type prepared struct {
		GID, Owner string
		Seconds    float64
		Age        int64
	}
	list, err := rows(ctx, e, pgx.RowToStructByPos[prepared], `
		SELECT quote_literal(gid), owner::text, extract(epoch FROM clock_timestamp() - prepared)::float8, age(transaction)::bigint
		FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() ORDER BY prepared LIMIT 20`)
	if err != nil {
		return nil, err
	}
	var found []checkup.Finding
	for _, p := range list {
		if p.Seconds < e.Limits.Transaction.Seconds() {
			continue
		}
		found = append(found, checkup.Finding{
			Severity: checkup.Warning,
			Seen:     fmt.Sprintf("transaction %s of user %q is prepared for %v (%d transactions)", p.GID, p.Owner, time.Duration(p.Seconds*float64(time.Second)).Round(time.Second), p.Age),
			Why:      horizonWhy,
			Fixes:    []checkup.Fix{sql("ROLLBACK PREPARED %s", p.GID)},
		})
	}
	return found, nil
}

func (e *exam) slots(ctx context.Context) ([]checkup.Finding, error) {
	type slot struct {
		Name string
		Kind string
		Age  int64
	}
	// A slot that is in use has its standby's horizon, see standbys.
	list, err := rows(ctx, e, pgx.RowToStructByPos[slot], `
		SELECT slot_name::text, slot_type, age(xmin)::bigint FROM pg_catalog.pg_replication_slots
		WHERE NOT active AND xmin IS NOT NULL ORDER BY 3 DESC LIMIT 20`)
	if err != nil {
		return nil, err
	}
	var found []checkup.Finding
	for _, s := range list {
		found = append(found, checkup.Finding{
			Severity: checkup.Warning,
			Seen:     fmt.Sprintf("%s replication slot %q, which nobody uses, holds %d transactions", s.Kind, s.Name, s.Age),
			Why:      horizonWhy,
			Fixes:    []checkup.Fix{sql("SELECT pg_drop_replication_slot('%s')", s.Name)},
		})
	}
	return found, nil
}

func (e *exam) standbys(ctx context.Context) ([]checkup.Finding, error) {
	type standby struct {
		PID         int
		Application string
		Age         int64
	}
	list, err := rows(ctx, e, pgx.RowToStructByPos[standby], `
		SELECT pid, coalesce(application_name, ''), age(backend_xmin)::bigint FROM pg_catalog.pg_stat_activity
		WHERE backend_type = 'walsender' AND backend_xmin IS NOT NULL AND age(backend_xmin) >= $1::bigint ORDER BY 3 DESC LIMIT 20`, e.Limits.Transactions)
	if err != nil {
		return nil, err
	}
	var found []checkup.Finding
	for _, s := range list {
		found = append(found, checkup.Finding{
			Severity: checkup.Warning,
			Seen:     fmt.Sprintf("standby %q (walsender pid %d) holds %d transactions for its queries", s.Application, s.PID, s.Age),
			Why:      horizonWhy,
			Fixes: []checkup.Fix{
				advice("on the standby: end the query that runs so long"),
				advice("or on the standby: ALTER SYSTEM SET hot_standby_feedback = off; SELECT pg_reload_conf(); long queries are then cancelled there instead"),
			},
		})
	}
	return found, nil
}

// autovacuum finds tables that nobody cleans up, or not often enough.
func (e *exam) autovacuum(ctx context.Context) ([]checkup.Finding, error) {
	s, err := row[struct{ Autovacuum, TrackCounts string }](ctx, e, `SELECT current_setting('autovacuum'), current_setting('track_counts')`)
	if err != nil {
		return nil, err
	}
	var found []checkup.Finding
	for name, value := range map[string]string{"autovacuum": s.Autovacuum, "track_counts": s.TrackCounts} {
		if value == "off" {
			found = append(found, checkup.Finding{
				Severity: checkup.Error, Seen: name + " is off on the whole server",
				Why:   "dead rows stay: every claim walks past them, and tables grow without end",
				Fixes: []checkup.Fix{sql("ALTER SYSTEM SET %s = on", name), sql("SELECT pg_reload_conf()")},
			})
		}
	}
	type health struct {
		Queue      string
		Name       string
		Dead, Live int64
		Off        bool
		Trigger    float64 // dead rows that make autovacuum come
	}
	tables, err := rows(ctx, e, pgx.RowToStructByPos[health], `
		SELECT n.name, 'pgmq.' || quote_ident(c.relname), coalesce(s.n_dead_tup, 0), coalesce(s.n_live_tup, 0),
		       coalesce((SELECT option_value::boolean FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_enabled'), true) = false,
		       coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_vacuum_threshold'), current_setting('autovacuum_vacuum_threshold'))::float8
		       + coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_vacuum_scale_factor'), current_setting('autovacuum_vacuum_scale_factor'))::float8 * greatest(c.reltuples, 0)
		FROM unnest($1::text[]) AS n(name)
		JOIN pg_catalog.pg_class c ON c.relname = 'q_' || lower(n.name) AND c.relkind = 'r' AND c.relnamespace = to_regnamespace('pgmq')
		LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
		ORDER BY 1`, e.names())
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		if t.Off {
			found = append(found, checkup.Finding{
				Severity: checkup.Warning, Seen: fmt.Sprintf("autovacuum is off for %s, which has %d dead rows", t.Name, t.Dead),
				Why:   "dead rows stay: every claim walks past them, and the table grows without end",
				Fixes: []checkup.Fix{sql("ALTER TABLE %s RESET (autovacuum_enabled)", t.Name), sql("VACUUM %s", t.Name)},
			})
			continue
		}
		hopeless := t.Trigger >= 20*float64(e.Limits.DeadRows)
		if !hopeless && (t.Dead < e.Limits.DeadRows || float64(t.Dead) <= 2*t.Trigger) {
			continue
		}
		f := checkup.Finding{
			Severity: checkup.Warning, Seen: fmt.Sprintf("%s has %d dead rows and %d live ones; autovacuum comes at %.0f", t.Name, t.Dead, t.Live, t.Trigger),
			Why:   "autovacuum does not keep up, or somebody holds the xmin horizon: every claim walks past dead rows",
			Fixes: []checkup.Fix{sql("VACUUM %s", t.Name), command("stephost queue tune %s", t.Queue)},
		}
		if hopeless {
			f.Why = "autovacuum comes much too late: every claim walks past dead rows"
			f.Fixes[1] = sql("ALTER TABLE %s SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 100)", t.Name)
		}
		found = append(found, f)
	}
	if len(found) == 0 {
		return checkup.Fine("%d queue tables are cleaned up", len(tables)), nil
	}
	return found, nil
}

// bloat finds claim indexes that are many times larger than what is in them.
func (e *exam) bloat(ctx context.Context) ([]checkup.Finding, error) {
	tables, err := e.tables(ctx, e.names())
	if err != nil {
		return nil, err
	}
	// An entry of the index takes about 20 bytes, and pages are half full at worst
	// as long as nothing is wrong.
	const perRow = 64
	type size struct{ Bytes, Rows int64 }
	var found []checkup.Finding
	for _, q := range tables {
		if q.VtIndex == "" {
			continue
		}
		s, err := row[size](ctx, e, `
			SELECT pg_relation_size(i.oid), (SELECT greatest(s.n_live_tup, 0) FROM pg_catalog.pg_stat_all_tables s WHERE s.relid = $2::oid)
			FROM pg_catalog.pg_class i JOIN pg_catalog.pg_index x ON x.indexrelid = i.oid
			WHERE x.indrelid = $2::oid AND 'pgmq.' || quote_ident(i.relname) = $1::text`, q.VtIndex, int64(q.OID))
		if err != nil {
			return found, err
		}
		if s.Bytes < e.Limits.IndexBytes || s.Bytes < 8*perRow*s.Rows {
			continue
		}
		found = append(found, checkup.Finding{
			Severity: checkup.Warning, Seen: fmt.Sprintf("index %s has %d MiB for %d rows", q.VtIndex, s.Bytes>>20, s.Rows),
			Why:   "claims read pages in which there is nothing any more",
			Fixes: []checkup.Fix{sql("REINDEX INDEX CONCURRENTLY %s", q.VtIndex)},
		})
	}
	if len(found) == 0 {
		return checkup.Fine("the claim indexes of %d queues are as large as they need to be", len(tables)), nil
	}
	return found, nil
}

// locks finds who keeps everybody from a queue.
func (e *exam) locks(ctx context.Context) ([]checkup.Finding, error) {
	type lock struct {
		PID                       int
		User, Application, Tables string
		Seconds                   float64
	}
	list, err := rows(ctx, e, pgx.RowToStructByPos[lock], `
		SELECT l.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), string_agg(DISTINCT 'pgmq.' || quote_ident(c.relname), ', '),
		       coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start)), 0)::float8
		FROM pg_catalog.pg_locks l
		JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p') AND c.relnamespace = to_regnamespace('pgmq')
		JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
		WHERE l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
		  AND l.granted AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
		  AND coalesce(a.backend_type, '') <> 'autovacuum worker'
		GROUP BY 1, 2, 3 ORDER BY 5 DESC LIMIT 20`)
	if err != nil {
		return nil, err
	}
	var found []checkup.Finding
	for _, l := range list {
		found = append(found, checkup.Finding{
			Severity: checkup.Warning,
			Seen:     fmt.Sprintf("pid %d, user %q, application %q, has locked %s for %v", l.PID, l.User, l.Application, l.Tables, time.Duration(l.Seconds*float64(time.Second)).Round(time.Second)),
			Why:      "nothing can be claimed or settled there, and leases run out, until it ends",
			Fixes:    []checkup.Fix{sql("SELECT pg_terminate_backend(%d)", l.PID)},
		})
	}
	if len(found) == 0 {
		return checkup.Fine("nobody keeps others from a queue"), nil
	}
	return found, nil
}
