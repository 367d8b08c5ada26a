// Package pgmqtest builds the table layouts that pgmq had over time, for tests
// that must work on each of them. It has tables and the few functions that a
// host needs, written from pgmq's contract; it is no queue for production.
package pgmqtest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
)

// Layout is how pgmq's tables look.
type Layout string

// The layouts.
const (
	// V1_4 has no headers, and nothing that notifies.
	V1_4 Layout = "1.4.4"
	// V1_5 has headers as the last column.
	V1_5 Layout = "1.5"
	// V1_10 has last_read_at in the middle, and notifications.
	V1_10 Layout = "1.10"
	// Upgraded is a database that began before 1.5: headers and last_read_at
	// were appended.
	Upgraded Layout = "upgraded"
)

// Layouts returns all layouts, oldest first.
func Layouts() []Layout { return []Layout{V1_4, V1_5, V1_10, Upgraded} }

// HasHeaders tells whether messages can have headers.
func (l Layout) HasHeaders() bool { return l != V1_4 }

// New returns the DSN of a database of its own with the layout installed.
func New(t testing.TB, l Layout) (dsn string) {
	t.Helper()
	return devpgtest.New(t, devpgtest.Template("pgmqtest "+string(l), func(ctx context.Context, conn *pgx.Conn) error {
		return Install(ctx, conn, l)
	}))
}

// Install creates schema pgmq with the layout.
func Install(ctx context.Context, conn *pgx.Conn, l Layout) error {
	sql := strings.NewReplacer("{queue}", l.queueTable(), "{archive}", l.archiveTable()).Replace(core)
	if l == V1_10 || l == Upgraded {
		sql += notify
	}
	if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
		return fmt.Errorf("install the tables of pgmq %s: %w", l, err)
	}
	return nil
}

// queueTable and archiveTable are statements for format(), whose first argument
// is the table.
func (l Layout) queueTable() string {
	create := `CREATE TABLE pgmq.%1$I (msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, read_ct int NOT NULL DEFAULT 0,
		enqueued_at timestamptz NOT NULL DEFAULT now(), `
	if l == V1_10 {
		create += `last_read_at timestamptz, `
	}
	return create + l.end()
}

func (l Layout) archiveTable() string {
	create := `CREATE TABLE pgmq.%1$I (msg_id bigint PRIMARY KEY, read_ct int NOT NULL DEFAULT 0, enqueued_at timestamptz NOT NULL DEFAULT now(), `
	if l == V1_10 {
		create += `last_read_at timestamptz, `
	}
	return create + `archived_at timestamptz NOT NULL DEFAULT now(), ` + l.end()
}

func (l Layout) end() string {
	switch l {
	case V1_4:
		return `vt timestamptz NOT NULL, message jsonb)`
	case Upgraded:
		return `vt timestamptz NOT NULL, message jsonb);
			ALTER TABLE pgmq.%1$I ADD COLUMN headers jsonb;
			ALTER TABLE pgmq.%1$I ADD COLUMN last_read_at timestamptz`
	}
	return `vt timestamptz NOT NULL, message jsonb, headers jsonb)`
}

const core = `
CREATE SCHEMA pgmq;
CREATE TABLE pgmq.meta (
	queue_name varchar UNIQUE NOT NULL, is_partitioned boolean NOT NULL, is_unlogged boolean NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now());

CREATE FUNCTION pgmq.create(queue_name text) RETURNS void LANGUAGE plpgsql AS $fn$
DECLARE
	base text := lower(queue_name);
BEGIN
	EXECUTE format($sql${queue}$sql$, 'q_' || base);
	EXECUTE format($sql${archive}$sql$, 'a_' || base);
	EXECUTE format('CREATE INDEX %I ON pgmq.%I (vt)', 'q_' || base || '_vt_idx', 'q_' || base);
	EXECUTE format('CREATE INDEX %I ON pgmq.%I (archived_at)', 'archived_at_idx_' || base, 'a_' || base);
	INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged) VALUES ($1, false, false);
END $fn$;

CREATE FUNCTION pgmq.drop_queue(queue_name text) RETURNS boolean LANGUAGE plpgsql AS $fn$
BEGIN
	EXECUTE format('DROP TABLE IF EXISTS pgmq.%I, pgmq.%I', 'q_' || lower(queue_name), 'a_' || lower(queue_name));
	DELETE FROM pgmq.meta m WHERE m.queue_name = drop_queue.queue_name;
	RETURN found;
END $fn$;

CREATE FUNCTION pgmq.send(queue_name text, msg jsonb, delay int DEFAULT 0) RETURNS SETOF bigint LANGUAGE plpgsql AS $fn$
BEGIN
	RETURN QUERY EXECUTE format('INSERT INTO pgmq.%I (vt, message) VALUES (clock_timestamp() + $2 * interval ''1 second'', $1) RETURNING msg_id',
		'q_' || lower(queue_name)) USING msg, delay;
END $fn$;
`

const notify = `
CREATE FUNCTION pgmq.notify_queue_listeners() RETURNS trigger LANGUAGE plpgsql AS $fn$
BEGIN
	PERFORM pg_notify('pgmq.' || TG_TABLE_NAME || '.INSERT', NULL);
	RETURN NULL;
END $fn$;

CREATE FUNCTION pgmq.enable_notify_insert(queue_name text, throttle_interval_ms int DEFAULT 250) RETURNS void LANGUAGE plpgsql AS $fn$
BEGIN
	EXECUTE format('CREATE CONSTRAINT TRIGGER trigger_notify_queue_insert_listeners AFTER INSERT ON pgmq.%I
		DEFERRABLE FOR EACH ROW EXECUTE FUNCTION pgmq.notify_queue_listeners()', 'q_' || lower(queue_name));
END $fn$;
`

// InstallTasker adds tasker-core's send function in a schema of that name. It
// announces each message on both of tasker's channels.
func InstallTasker(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.PgConn().Exec(ctx, tasker).ReadAll(); err != nil {
		return fmt.Errorf("install tasker's send function: %w", err)
	}
	return nil
}

const tasker = `
CREATE SCHEMA tasker;
CREATE FUNCTION tasker.pgmq_send_with_notify(queue_name text, message jsonb, delay_seconds int DEFAULT 0) RETURNS bigint LANGUAGE plpgsql AS $fn$
DECLARE
	id bigint := pgmq.send(queue_name, message, delay_seconds);
	ns text := regexp_replace(regexp_replace(queue_name, '^worker_', ''), '_queue$', '');
	event text := jsonb_build_object('event_type', 'message_with_payload', 'msg_id', id, 'queue_name', queue_name, 'namespace', ns,
		'message', message, 'ready_at', now(), 'delay_seconds', delay_seconds)::text;
BEGIN
	PERFORM pg_notify('pgmq_message_ready.' || ns, event), pg_notify('pgmq_message_ready', event);
	RETURN id;
END $fn$;
`
