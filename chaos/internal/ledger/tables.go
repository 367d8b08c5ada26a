package ledger

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// tables are ordinary tables: what they hold must survive what the queues
// survive.
const tables = `
CREATE SCHEMA chaos;
CREATE TABLE chaos.sent (
	id       bigint PRIMARY KEY,
	msg_id   bigint NOT NULL,
	deed     text NOT NULL,
	expected text NOT NULL,
	emits    boolean NOT NULL,
	delay    interval NOT NULL
);
CREATE TABLE chaos.acked (id bigint PRIMARY KEY);
CREATE TABLE chaos.execution (
	id         bigint NOT NULL,
	execution  text NOT NULL PRIMARY KEY,
	attempt    int NOT NULL,
	pid        int NOT NULL,
	started_at timestamptz NOT NULL,
	ended_at   timestamptz,
	outcome    text
);
CREATE TABLE chaos.removed (
	place    text NOT NULL, -- archive, dead or result
	at       timestamptz NOT NULL, -- when the row was committed
	id       bigint,
	failures int NOT NULL,
	success  boolean -- of results
);`

// Create makes the tables of a run.
func Create(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, tables); err != nil {
		return fmt.Errorf("make the ledger: %w", err)
	}
	return nil
}

// Execer is a connection, a pool or a transaction.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Send sends the messages and notes them, in one statement. In a transaction
// they are sent when that commits.
func Send(ctx context.Context, db Execer, messages ...Message) error {
	ids, deeds := make([]int64, len(messages)), make([]string, len(messages))
	ends, bodies := make([]string, len(messages)), make([]string, len(messages))
	emits, delays := make([]bool, len(messages)), make([]int, len(messages))
	for i, m := range messages {
		ids[i], deeds[i], ends[i], bodies[i] = m.ID, string(m.Do), string(m.End), m.Body()
		emits[i], delays[i] = m.Emit, m.Delay
	}
	_, err := db.Exec(ctx, `
		INSERT INTO chaos.sent (id, msg_id, deed, expected, emits, delay)
		SELECT s.id, pgmq.send($1, s.body::jsonb, s.delay), s.deed, s.expected, s.emits, make_interval(secs => s.delay)
		FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::int[]) AS s(id, deed, expected, body, emits, delay)`,
		Queue, ids, deeds, ends, bodies, emits, delays)
	return err
}

// Acknowledge notes which messages the sender was told are committed.
func Acknowledge(ctx context.Context, db Execer, ids []int64) error {
	if _, err := db.Exec(ctx, `INSERT INTO chaos.acked SELECT unnest($1::bigint[])`, ids); err != nil {
		return fmt.Errorf("note what was acknowledged: %w", err)
	}
	return nil
}
