package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stephost/stephost/internal/checkup"
)

// countCap is where counting stops.
const countCap = 10_000

// depth is what is in a queue.
type depth struct {
	Messages int64
	Seconds  float64 // how long the oldest visible one is
}

func depthOf(ctx context.Context, tx pgx.Tx, q queueTable) (d depth, err error) {
	err = tx.QueryRow(ctx, fmt.Sprintf(`
		SELECT (SELECT count(*) FROM (SELECT FROM %[1]s LIMIT %[2]d) c),
		       coalesce((SELECT extract(epoch FROM statement_timestamp() - vt) FROM %[1]s WHERE vt <= statement_timestamp() ORDER BY vt LIMIT 1), 0)::float8`,
		q.Name, countCap)).Scan(&d.Messages, &d.Seconds)
	return d, err
}

func (d depth) String() string {
	text := fmt.Sprintf("%d messages", d.Messages)
	switch d.Messages {
	case 1:
		text = "1 message"
	case countCap:
		text = fmt.Sprintf("%d messages or more", countCap)
	}
	if d.Seconds > 0 {
		text += fmt.Sprintf(", the oldest visible for %v", seconds(d.Seconds))
	}
	return text
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Second)
}

// unusedQueues finds queues whose messages nobody here takes.
func (e *exam) unusedQueues(ctx context.Context) ([]checkup.Finding, error) {
	names, err := rows(ctx, e, pgx.RowTo[string], `SELECT queue_name::text FROM pgmq.meta ORDER BY 1`)
	var missing *pgconn.PgError
	if errors.As(err, &missing) && missing.Code == "42P01" {
		return nil, errNoSchema
	}
	if err != nil {
		return nil, err
	}
	used := e.names()
	names = slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(used, func(u string) bool { return strings.EqualFold(u, name) })
	})
	found, err := e.each(ctx, names, func(tx pgx.Tx, q queueTable) ([]checkup.Finding, error) {
		d, err := depthOf(ctx, tx, q)
		if err != nil || d.Messages == 0 {
			return nil, err
		}
		return []checkup.Finding{{
			Severity: checkup.Warning, Seen: fmt.Sprintf("queue %q has no namespace here: %s", q.Queue, d),
			Why: "nobody here runs them; that is right only where another program does",
			Fixes: []checkup.Fix{
				edit("namespace %q {\n  plugin = \"PLUGIN\"\n  queue  = %q\n}", strings.TrimSuffix(q.Queue, "_queue"), q.Queue),
				command("stephost queue drop %s --force # instead, if neither it nor its messages are needed", q.Queue),
			},
		}}, nil
	})
	if err == nil && len(found) == 0 {
		return checkup.Fine("every queue with messages belongs to a namespace; %d empty ones do not", len(names)), nil
	}
	return found, err
}

// stepSample is how many of the first messages the check of steps looks at.
const stepSample = 200

// steps finds messages at the head of a queue that no handler takes.
func (e *exam) steps(ctx context.Context) ([]checkup.Finding, error) {
	known := slices.DeleteFunc(slices.Clone(e.Queues), func(q Queue) bool { return q.Steps == nil })
	if len(known) == 0 {
		return nil, checkup.Skip("it is not known which steps the plugins have")
	}
	var names []string
	for _, q := range known {
		names = append(names, q.Name)
	}
	found, err := e.each(ctx, names, func(tx pgx.Tx, table queueTable) ([]checkup.Finding, error) {
		q := known[slices.Index(names, table.Queue)]
		rows, err := tx.Query(ctx, fmt.Sprintf(`
			SELECT coalesce(left(message ->> $1::text, 100), '') FROM (SELECT message FROM %s WHERE vt <= statement_timestamp() ORDER BY vt LIMIT %d) head
			WHERE jsonb_typeof(message) = 'object' GROUP BY 1 ORDER BY 1`, table.Name, stepSample), q.StepKey)
		if err != nil {
			return nil, err
		}
		steps, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, err
		}
		var found []checkup.Finding
		for _, step := range steps {
			if f, wrong := unknownStep(q, step); wrong {
				found = append(found, f)
			}
		}
		return found, nil
	})
	if err == nil && len(found) == 0 {
		return checkup.Fine("plugins know the steps of the first messages of %d queues", len(names)), nil
	}
	return found, err
}

func unknownStep(q Queue, step string) (checkup.Finding, bool) {
	f := checkup.Finding{
		Severity: checkup.Warning, Why: "such messages end in the dead letters",
		Fixes: []checkup.Fix{
			advice("install the version of the plugin that has the step, then: stephost plugin reload NAME"),
			edit("namespace %q {\n  step_key = \"FIELD\" # instead, where another member names the step\n}", q.Namespace),
		},
	}
	switch {
	case step == "" && !q.HasDefault:
		f.Seen = fmt.Sprintf("messages in queue %q name no step (member %q), and the plugin has no default handler", q.Name, q.StepKey)
	case step != "" && !slices.Contains(q.Steps, step):
		f.Seen = fmt.Sprintf("messages in queue %q are for step %q; the plugin has %s", q.Name, step, strings.Join(q.Steps, ", "))
	default:
		return f, false
	}
	return f, true
}

func (e *exam) consumed() []string {
	names := make([]string, len(e.Queues))
	for i, q := range e.Queues {
		names[i] = q.Name
	}
	return names
}

// hosts counts the hosts that are connected, by their pools' names.
func (e *exam) hosts(ctx context.Context) (int, error) {
	n, err := row[struct{ N int }](ctx, e, `
		SELECT count(*)::int FROM pg_catalog.pg_stat_activity
		WHERE datname = current_database() AND (application_name LIKE 'stephost listen%' OR application_name LIKE 'stephost claim%')`)
	return n.N, err
}

// waiting finds messages that should have been claimed.
func (e *exam) waiting(ctx context.Context) ([]checkup.Finding, error) {
	hosts, err := e.hosts(ctx)
	if err != nil {
		return nil, err
	}
	found, err := e.each(ctx, e.consumed(), func(tx pgx.Tx, q queueTable) ([]checkup.Finding, error) {
		d, err := depthOf(ctx, tx, q)
		if err != nil || d.Seconds < e.Limits.Waiting.Seconds() {
			return nil, err
		}
		f := checkup.Finding{Severity: checkup.Warning, Seen: fmt.Sprintf("queue %q: %s", q.Queue, d)}
		if hosts == 0 {
			f.Why = "no host is connected to this database"
			f.Fixes = []checkup.Fix{command("stephost run")}
		} else {
			f.Why = "a host is connected, and does not keep up: its namespace is paused, its plugin is not ready, all slots are taken, or handlers are slow"
			f.Fixes = []checkup.Fix{command("stephost status"), command("stephost namespace list"), command("stephost plugin list")}
		}
		return []checkup.Finding{f}, nil
	})
	if err == nil && len(found) == 0 {
		return checkup.Fine("no message is visible for longer than %v", e.Limits.Waiting), nil
	}
	return found, err
}

// leases finds messages that were claimed and are not due for very long.
func (e *exam) leases(ctx context.Context) ([]checkup.Finding, error) {
	found, err := e.each(ctx, e.consumed(), func(tx pgx.Tx, q queueTable) ([]checkup.Finding, error) {
		var n int64
		var first *int64
		var until *time.Time
		err := tx.QueryRow(ctx, fmt.Sprintf(`
			SELECT count(*), min(msg_id), max(vt) FROM (SELECT msg_id, vt FROM %s
			WHERE vt > statement_timestamp() + $1::bigint * interval '1 microsecond' AND read_ct > 0 LIMIT %d) far`, q.Name, countCap),
			e.Limits.Lease.Microseconds()).Scan(&n, &first, &until)
		if err != nil || n == 0 {
			return nil, err
		}
		return []checkup.Finding{{
			Severity: checkup.Warning,
			Seen:     fmt.Sprintf("queue %q: %d messages were delivered before and are not visible for longer than %v, the last until %s, for example %d", q.Queue, n, e.Limits.Lease, until.UTC().Format(time.RFC3339), *first),
			Why:      "nobody gets them until then: somebody read them with a very long visibility timeout, or a handler asked for a very long delay",
			Fixes: []checkup.Fix{sql("UPDATE %s SET vt = statement_timestamp() WHERE read_ct > 0 AND vt > statement_timestamp() + interval '%d seconds'",
				q.Name, int64(e.Limits.Lease.Seconds()))},
		}}, nil
	})
	if err == nil && len(found) == 0 {
		return checkup.Fine("no message is leased or delayed for longer than %v", e.Limits.Lease), nil
	}
	return found, err
}

// deliveries finds messages that come again and again.
func (e *exam) deliveries(ctx context.Context) ([]checkup.Finding, error) {
	found, err := e.each(ctx, e.consumed(), func(tx pgx.Tx, q queueTable) ([]checkup.Finding, error) {
		var n int64
		var worst, id *int64
		err := tx.QueryRow(ctx, fmt.Sprintf(`
			WITH often AS (SELECT msg_id, read_ct FROM (SELECT msg_id, read_ct FROM %s LIMIT %d) AS q WHERE read_ct >= $1::int)
			SELECT count(*), max(read_ct)::bigint, (SELECT msg_id FROM often ORDER BY read_ct DESC, msg_id LIMIT 1) FROM often`, q.Name, 10*countCap),
			e.Limits.Deliveries).Scan(&n, &worst, &id)
		if err != nil || n == 0 {
			return nil, err
		}
		return []checkup.Finding{{
			Severity: checkup.Warning,
			Seen:     fmt.Sprintf("queue %q: %d messages were delivered %d times or more; message %d, %d times", q.Queue, n, e.Limits.Deliveries, *id, *worst),
			Why:      "their steps run again and again: they snooze, or hosts die with them, or leases are shorter than handlers and nobody extends them",
			Fixes: []checkup.Fix{
				command("stephost queue peek %s", q.Queue),
				advice("if it is not to run again, delete it: DELETE FROM %s WHERE msg_id = %d; never set read_ct back, the fence of its leases is in it", q.Name, *id),
			},
		}}, nil
	})
	if err == nil && len(found) == 0 {
		return checkup.Fine("no message was delivered %d times", e.Limits.Deliveries), nil
	}
	return found, err
}

// deadLetters tells what waits for a decision, and why it is there.
func (e *exam) deadLetters(ctx context.Context) ([]checkup.Finding, error) {
	var names []string
	for _, q := range e.Queues {
		if !slices.Contains(names, q.Dead) {
			names = append(names, q.Dead)
		}
	}
	found, err := e.each(ctx, names, func(tx pgx.Tx, q queueTable) ([]checkup.Finding, error) {
		d, err := depthOf(ctx, tx, q)
		if err != nil || d.Messages == 0 {
			return nil, err
		}
		reasons, err := reasonsOf(ctx, tx, q)
		if err != nil {
			return nil, err
		}
		return []checkup.Finding{{
			Severity: checkup.Warning,
			Seen:     fmt.Sprintf("dead-letter queue %q: %s; of the latest: %s", q.Queue, d, strings.Join(reasons, "; ")),
			Why:      "steps that will not run again by themselves",
			Fixes: []checkup.Fix{
				command("stephost dead list %s", q.Queue),
				command("stephost dead replay %s --all # once the cause is gone", q.Queue),
			},
		}}, nil
	})
	if err == nil && len(found) == 0 {
		return checkup.Fine("none waits"), nil
	}
	return found, err
}

// reasonsOf are the commonest reasons among the latest dead letters.
func reasonsOf(ctx context.Context, tx pgx.Tx, q queueTable) ([]string, error) {
	const sample = 1000
	record, join := "m.headers -> 'stephost'", ""
	if q.column("headers") == "" {
		record = "k.record"
		join = fmt.Sprintf(" LEFT JOIN stephost.bookkeeping k ON k.queue = %s AND k.msg_id = m.msg_id AND k.enqueued_at = m.enqueued_at", "'"+q.Key+"'")
	}
	found, err := tx.Query(ctx, fmt.Sprintf(`
		SELECT count(*) || ' ' || coalesce(reason, 'not by stephost') || coalesce(': ' || error, '')
		FROM (SELECT record -> 'dead' ->> 'reason' AS reason, left(regexp_replace(record -> 'dead' ->> 'error', '\s+', ' ', 'g'), 120) AS error
		      FROM (SELECT %s AS record FROM (SELECT * FROM %s ORDER BY msg_id DESC LIMIT %d) m%s) r) s
		GROUP BY reason, error ORDER BY count(*) DESC, reason, error LIMIT 3`, record, q.Name, sample, join))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, pgx.RowTo[string])
}
