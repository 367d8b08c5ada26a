package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/internal/checkup"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

const (
	triggerName = "trigger_notify_queue_insert_listeners"
	// proofTimeout is how long a notification may take; proofTries, how often a
	// queue's is asked for, since a trigger is silent for its throttle's time.
	proofTimeout = 2 * time.Second
	maxThrottle  = 2 * time.Second
	// maxChannel is how long a channel's name can be, in bytes.
	maxChannel = 63
)

// trigger is what announces a queue's inserts.
type trigger struct {
	Queue, Table, Channel string
	// Name is "" where there is none.
	Name, Enabled, Function, Source string
	Rows                            bool // once for each row
	Throttle                        int  // milliseconds
	MayInsert                       bool
}

// announces tells whether the function's text looks as if it notified on the
// queue's channel.
func (t trigger) announces() bool {
	return strings.Contains(t.Source, "pg_notify") && strings.Contains(t.Source, "INSERT")
}

// family is how messages are announced here.
type family struct {
	Schema    bool
	HasEnable bool // pgmq.enable_notify_insert
	Tasker    bool // tasker's send function
	Ours      bool
}

func (e *exam) notifications(ctx context.Context) ([]checkup.Finding, error) {
	if !e.Listens {
		return checkup.Fine("the configured mode needs none"), nil
	}
	f, err := row[family](ctx, e, `
		SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'pgmq'),
		       EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'pgmq' AND p.proname = 'enable_notify_insert'),
		       EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname = 'pgmq_send_with_notify'),
		       EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'pgmq' AND p.proname = '_notify_due')`)
	if err != nil {
		return nil, err
	}
	if !f.Schema {
		return nil, errNoSchema
	}
	if e.Notifications == pgmq.NotifyTasker && !f.Tasker {
		return []checkup.Finding{{
			Severity: checkup.Warning, Seen: "notifications = \"tasker\", and tasker's send function is not installed",
			Why:   "the host does not listen to pgmq's channels then, and nobody announces on tasker's: messages wait for the fallback poller",
			Fixes: []checkup.Fix{edit("queue \"pgmq\" {\n  notifications = \"auto\"\n}")},
		}}, nil
	}
	if !f.HasEnable {
		if f.Tasker && e.Notifications != pgmq.NotifyPGMQ {
			return checkup.Fine("tasker's send function announces messages"), nil
		}
		return []checkup.Finding{{
			Severity: checkup.Warning, Seen: "this pgmq cannot announce messages: it is older than 1.7",
			Why:   "messages wait for the fallback poller",
			Fixes: []checkup.Fix{sql("ALTER EXTENSION pgmq UPDATE"), edit("event_system {\n  deployment_mode = \"PollingOnly\" # instead, if it is to stay\n}")},
		}}, nil
	}
	triggers, err := e.triggers(ctx)
	if err != nil {
		return nil, err
	}
	listener, err := e.hearing(ctx)
	var unproven string
	switch {
	case err != nil:
		unproven = err.Error()
	case listener == nil:
		unproven = "notifications do not arrive here, see the check \"listen\""
	default:
		defer closeConn(listener)
	}
	var (
		found  []checkup.Finding
		proven int
	)
	for _, t := range triggers {
		if trouble := e.trigger(t, f); trouble != nil {
			found = append(found, *trouble)
			continue
		}
		if unproven != "" || !t.provable() {
			continue
		}
		ok, err := e.prove(ctx, listener, t)
		switch {
		case err != nil:
			found = append(found, checkup.Finding{Severity: checkup.Skipped, Seen: fmt.Sprintf("queue %q: its notifications could not be tried: %v", t.Queue, err)})
		case !ok:
			found = append(found, dead(t, f))
		default:
			proven++
		}
	}
	if unproven != "" {
		found = append(found, checkup.Finding{Severity: checkup.Skipped, Seen: "the triggers could not be tried: " + unproven})
	}
	if len(found) == 0 {
		return checkup.Fine("%d queues have a trigger that announces their messages; that of %d was tried", len(triggers), proven), nil
	}
	return found, nil
}

func (e *exam) triggers(ctx context.Context) ([]trigger, error) {
	names := make([]string, len(e.Queues))
	for i, q := range e.Queues {
		names[i] = q.Name
	}
	triggers, err := rows(ctx, e, pgx.RowToStructByPos[trigger], `
		SELECT n.name, 'pgmq.' || quote_ident(c.relname), 'pgmq.' || c.relname || '.INSERT',
		       coalesce(t.tgname::text, ''), coalesce(t.tgenabled::text, ''), coalesce(p.oid::regprocedure::text, ''), coalesce(p.prosrc, ''),
		       coalesce(t.tgtype & 1 = 1, false), 0, has_table_privilege(c.oid, 'INSERT')
		FROM unnest($1::text[]) AS n(name)
		JOIN pg_catalog.pg_class c ON c.relname = 'q_' || lower(n.name) AND c.relkind IN ('r', 'p')
		JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace AND s.nspname = 'pgmq'
		LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND t.tgname = $2::text
		LEFT JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
		ORDER BY n.name`, names, triggerName)
	if err != nil {
		return nil, err
	}
	type throttle struct {
		Queue        string
		Milliseconds int
	}
	// The table is not everywhere, and not everybody may read it.
	throttles, err := rows(ctx, e, pgx.RowToStructByPos[throttle], `SELECT lower(queue_name), throttle_interval_ms FROM pgmq.notify_insert_throttle`)
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	for i := range triggers {
		for _, have := range throttles {
			if have.Queue == strings.ToLower(triggers[i].Queue) {
				triggers[i].Throttle = have.Milliseconds
			}
		}
	}
	return triggers, nil
}

// trigger is what the catalog says about it, or nil.
func (e *exam) trigger(t trigger, f family) *checkup.Finding {
	found := &checkup.Finding{Severity: checkup.Warning, Why: "messages of this queue wait for the fallback poller, or for the safety sweep where there is none"}
	switch {
	case len(t.Channel) > maxChannel:
		found.Seen = fmt.Sprintf("the name of queue %q is too long for a channel", t.Queue)
		found.Fixes = []checkup.Fix{advice("use a queue with a shorter name: %v", queues.ErrName)}
	case t.Name == "":
		found.Seen = fmt.Sprintf("queue %q has no trigger that announces its messages", t.Queue)
		found.Fixes = []checkup.Fix{command("stephost queue create %s", t.Queue)}
	case t.Enabled == "D" || t.Enabled == "R":
		found.Seen = fmt.Sprintf("trigger %s of %s is disabled", t.Name, t.Table)
		found.Fixes = []checkup.Fix{sql("ALTER TABLE %s ENABLE TRIGGER %s", t.Table, t.Name)}
	case !t.announces():
		*found = dead(t, f)
	default:
		return nil
	}
	return found
}

// dead is about a trigger that runs and does not announce.
func dead(t trigger, f family) checkup.Finding {
	found := checkup.Finding{
		Severity: checkup.Warning,
		Seen:     fmt.Sprintf("trigger %s of %s calls %s, which does not notify on channel %s", t.Name, t.Table, t.Function, t.Channel),
		Why:      "messages of this queue wait for the fallback poller, or for the safety sweep where there is none",
	}
	const function = "pgmq.notify_queue_listeners()"
	if t.Function == function && f.Ours {
		found.Fixes = []checkup.Fix{sql("%s", schema.NotifyFunction())}
	} else if t.Function == function {
		found.Fixes = []checkup.Fix{advice("somebody has replaced the function: install pgmq's own again, from its SQL")}
	} else {
		found.Fixes = []checkup.Fix{sql("DROP TRIGGER %s ON %s", t.Name, t.Table), command("stephost queue create %s", t.Queue)}
	}
	return found
}

// provable: an insert of no rows fires a trigger that is run once for each
// statement.
func (t trigger) provable() bool {
	return !t.Rows && t.MayInsert && time.Duration(t.Throttle)*time.Millisecond <= maxThrottle
}

// prove inserts no rows and waits for the notification. Where nobody answers
// the first time, a message that somebody sent just before may have started the
// throttle's time, so it asks once more when that is over.
func (e *exam) prove(ctx context.Context, listener *pgx.Conn, t trigger) (bool, error) {
	if _, err := listener.Exec(ctx, "LISTEN "+ident(t.Channel)); err != nil {
		return false, err
	}
	for try := 0; ; try++ {
		err := pgx.BeginFunc(ctx, e.conn, func(tx pgx.Tx) error {
			if err := e.hurry(ctx, tx); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `INSERT INTO `+t.Table+` (vt, message) SELECT now(), NULL WHERE false`)
			return err
		})
		if err != nil {
			return false, err
		}
		wait := time.Duration(t.Throttle)*time.Millisecond + 100*time.Millisecond
		if try > 0 {
			wait = proofTimeout
		}
		ok, err := notified(ctx, listener, t.Channel, wait)
		if ok || err != nil || try > 0 {
			return ok, err
		}
	}
}

// hearing is a connection to which notifications of producers are known to come
// while it does nothing else, or nil.
func (e *exam) hearing(ctx context.Context) (*pgx.Conn, error) {
	listener, err := e.open(ctx, e.ListenDSN, exec)
	if err != nil {
		return nil, err
	}
	ok, err := e.hears(ctx, listener)
	if err != nil || !ok {
		closeConn(listener)
		return nil, err
	}
	return listener, nil
}

// hears sends a notification by dsn, as a producer does.
func (e *exam) hears(ctx context.Context, listener *pgx.Conn) (bool, error) {
	channel := "stephost.doctor." + strings.ToLower(rand.Text())
	if _, err := listener.Exec(ctx, "LISTEN "+ident(channel)); err != nil {
		return false, err
	}
	err := e.read(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT pg_notify($1::text, '')`, channel)
		return err
	})
	if err != nil {
		return false, err
	}
	ok, err := notified(ctx, listener, channel, proofTimeout)
	if err == nil && !ok {
		// A pooler's session keeps it. This reaches that session, unless somebody
		// else uses it now; nobody notifies this channel again anyway.
		_, err = listener.Exec(ctx, "UNLISTEN "+ident(channel))
	}
	return ok, err
}

// notified waits for a notification on the channel.
func notified(ctx context.Context, conn *pgx.Conn, channel string, wait time.Duration) (bool, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		got, err := conn.WaitForNotification(waiting)
		switch {
		case err == nil && got.Channel == channel:
			return true, nil
		case err == nil:
		case ctx.Err() != nil:
			return false, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			return false, nil
		default:
			return false, err
		}
	}
}
