package processor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// The queues of the model.
const (
	modelQueue   = "ns_queue"
	modelDead    = "ns_dead"
	modelResults = "results"
	modelEmits   = "emits"
)

// gateSQL makes every change of a row of the queue pass a gate, which the test
// closes for the connections of one name: the statement has locked the row and
// cannot go on. It lets no settlement pass that a crash could undo.
const gateSQL = `CREATE OR REPLACE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS $fn$
BEGIN
	IF current_setting('application_name') LIKE 'stephost settle%' AND current_setting('synchronous_commit') = 'off' THEN
		RAISE EXCEPTION 'a settlement must not be forgotten';
	END IF;
	PERFORM pg_advisory_xact_lock_shared(hashtext(current_setting('application_name')));
	RETURN coalesce(NEW, OLD);
END $fn$;
DROP TRIGGER IF EXISTS gate ON pgmq.q_ns_queue;
CREATE TRIGGER gate BEFORE UPDATE OR DELETE ON pgmq.q_ns_queue FOR EACH ROW EXECUTE FUNCTION public.gate()`

// audit looks at the database and interferes with it, in SQL of its own.
type audit struct {
	db      *pgx.Conn
	headers bool // the layout has them
}

func (a *audit) exec(t require.TestingT, sql string, args ...any) {
	_, err := a.db.Exec(context.Background(), sql, args...)
	require.NoError(t, err, sql)
}

// clean empties the queues; ids begin again.
func (a *audit) clean(t require.TestingT) {
	tables := []string{"pgmq.a_ns_queue"}
	for _, name := range []string{modelQueue, modelDead, modelResults, modelEmits} {
		tables = append(tables, "pgmq.q_"+name)
	}
	if !a.headers {
		tables = append(tables, "stephost.bookkeeping")
	}
	a.exec(t, "TRUNCATE "+strings.Join(tables, ", ")+" RESTART IDENTITY")
}

// lines are the facts in the database, in the words of world.lines.
func (a *audit) lines(t require.TestingT) []string {
	record := func(queue string) (expression, join string) {
		if a.headers {
			return "m.headers -> 'stephost'", ""
		}
		return "k.record", " LEFT JOIN stephost.bookkeeping k ON k.queue = '" + queue + "' AND k.msg_id = m.msg_id AND k.enqueued_at = m.enqueued_at"
	}
	queued, queuedJoin := record(modelQueue)
	buried, buriedJoin := record(modelDead)
	rows, err := a.db.Query(context.Background(), `
		SELECT format('queue id=%s enqueued=%s tag=%s epoch=%s due=%s failures=%s crashes=%s suspicion=%s lost=%s replays=%s',
			msg_id, enqueued, tag, read_ct, greatest(0, round(due / $1::numeric)), coalesce(r->>'failures', '0'), coalesce(r->>'crashes', '0'),
			coalesce(r->>'suspicion', '0'), read_ct - coalesce((r->>'accounted')::int, 0), coalesce(r->>'replays', '0'))
		FROM (SELECT m.msg_id, m.read_ct, (extract(epoch FROM m.enqueued_at) * 1000000)::bigint AS enqueued, m.message->>'n' AS tag,
			extract(epoch FROM m.vt - clock_timestamp()) AS due, `+queued+` AS r FROM pgmq.q_ns_queue m`+queuedJoin+`) q
		UNION ALL
		SELECT format('dead tag=%s %s/%s/%s %s replays=%s', m.message->>'n', r->'origin'->>'queue', r->'origin'->>'msg_id',
			(extract(epoch FROM (r->'origin'->>'enqueued_at')::timestamptz) * 1000000)::bigint, r->'dead'->>'reason', coalesce(r->>'replays', '0'))
		FROM (SELECT m.message, `+buried+` AS r FROM pgmq.q_ns_dead m`+buriedJoin+`) m
		UNION ALL
		SELECT format('archive tag=%s id=%s epoch=%s', message->>'n', msg_id, read_ct) FROM pgmq.a_ns_queue
		UNION ALL
		SELECT format('result %s %s attempt=%s', message->>'idempotency_key', message->>'status', message->>'attempt') FROM pgmq.q_results
		UNION ALL
		SELECT format('emit %s', message->>'emit') FROM pgmq.q_emits`, modelTick.Seconds())
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	slices.Sort(lines)
	return lines
}

// raw is a row of the queue as it lies there.
type raw struct {
	id, enqueued int64
	epoch        int32
	vt           time.Time
}

func (r raw) key() rowKey { return rowKey{r.id, r.enqueued} }

const rawSQL = `SELECT msg_id, (extract(epoch FROM enqueued_at) * 1000000)::bigint, read_ct, vt FROM pgmq.q_ns_queue`

func scanRaw(row pgx.CollectableRow) (r raw, err error) {
	return r, row.Scan(&r.id, &r.enqueued, &r.epoch, &r.vt)
}

func (a *audit) raw(t require.TestingT) []raw {
	rows, err := a.db.Query(context.Background(), rawSQL+" ORDER BY 1")
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, scanRaw)
	require.NoError(t, err)
	return all
}

// locked are the rows that someone has locked.
func (a *audit) locked(t require.TestingT) map[rowKey]bool {
	locked := make(map[rowKey]bool)
	for _, r := range a.raw(t) {
		locked[r.key()] = true
	}
	rows, err := a.db.Query(context.Background(), rawSQL+" FOR UPDATE SKIP LOCKED")
	require.NoError(t, err)
	free, err := pgx.CollectRows(rows, scanRaw)
	require.NoError(t, err)
	for _, r := range free {
		delete(locked, r.key())
	}
	return locked
}

// blocked tells whether a connection of that name waits for a lock.
func (a *audit) blocked(t require.TestingT, application string) (blocked bool) {
	err := a.db.QueryRow(context.Background(), `SELECT EXISTS (SELECT 1 FROM pg_locks l JOIN pg_stat_activity s USING (pid)
		WHERE NOT l.granted AND s.application_name = $1 AND s.datname = current_database())`, application).Scan(&blocked)
	require.NoError(t, err)
	return blocked
}

func (a *audit) close(t require.TestingT, application string) {
	a.exec(t, `SELECT pg_advisory_lock(hashtext($1))`, application)
}

func (a *audit) open(t require.TestingT, application string) {
	a.exec(t, `SELECT pg_advisory_unlock(hashtext($1))`, application)
}

// pass makes the database's clock run ahead: to a message it is the same
// whether now is later or its time earlier.
func (a *audit) pass(t require.TestingT, d time.Duration) {
	a.exec(t, fmt.Sprintf(`UPDATE pgmq.q_ns_queue SET vt = vt - interval '%d seconds'`, int(d.Seconds())))
}
