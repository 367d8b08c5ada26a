package audit_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/chaos/internal/audit"
	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/internal/devpg"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

func TestMain(m *testing.M) { devpgtest.Main(m) }

// kept is what a host leaves that keeps the promise: message 1 succeeded at
// once, 2 at its second attempt, 3 is in the dead letters as it should be, and 4
// was executed again because its plugin was killed. What 1 and 2 emitted is sent,
// and what 3 and the first attempt of 2 emitted is not.
const kept = `
CREATE PROCEDURE settle(number bigint, failures int, place text) LANGUAGE sql AS $$
	WITH done AS (DELETE FROM pgmq.q_work_queue WHERE (message->>'id')::bigint = number RETURNING *),
	archived AS (
		INSERT INTO pgmq.a_work_queue (msg_id, enqueued_at, read_ct, vt, message, headers)
		SELECT msg_id, enqueued_at, read_ct, vt, message, jsonb_build_object('stephost', jsonb_build_object('failures', failures))
		FROM done WHERE place = 'archive'),
	dead AS (
		INSERT INTO pgmq.q_work_dead (vt, message, headers)
		SELECT now(), message, jsonb_build_object('stephost', jsonb_build_object('failures', failures))
		FROM done WHERE place = 'dead')
	INSERT INTO pgmq.q_work_results (vt, message)
	SELECT now(), jsonb_build_object('correlation_id', message->>'correlation_id', 'success', place = 'archive') FROM done
$$;
CREATE PROCEDURE execute(number bigint, name text, attempt int, outcome text) LANGUAGE sql AS $$
	INSERT INTO chaos.execution
	SELECT number, name, attempt, 1, pg_xact_commit_timestamp(xmin), CASE WHEN outcome IS NOT NULL THEN now() END, outcome
	FROM chaos.sent WHERE id = number
$$;
CALL execute(1, 'a', 1, 'ok');
CALL execute(2, 'b', 1, 'fail');
CALL execute(2, 'c', 2, 'ok');
CALL execute(3, 'd', 1, 'panic');
CALL execute(4, 'e', 1, NULL);
CALL execute(4, 'f', 1, 'ok');
INSERT INTO pgmq.q_work_emits (vt, message) VALUES (now(), '{"id": 1}'), (now(), '{"id": 2}');
CALL settle(1, 0, 'archive');
CALL settle(2, 1, 'archive');
CALL settle(3, 1, 'dead');
CALL settle(4, 0, 'archive');`

func fill(ctx context.Context, conn *pgx.Conn) error {
	if _, err := schema.Install(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `SELECT pgmq.create(q) FROM unnest($1::text[]) q`, ledger.Queues()); err != nil {
		return err
	}
	if err := ledger.Create(ctx, conn); err != nil {
		return err
	}
	var ids []int64
	for id := range int64(4) {
		m := ledger.New(id+1, 0)
		m.Emit = m.ID < 4
		switch m.ID {
		case 3:
			m.End = ledger.Dead
		case 4:
			m.Delay = 4
		}
		ids = append(ids, m.ID)
		if err := ledger.Send(ctx, conn, m); err != nil {
			return err
		}
	}
	return ledger.Acknowledge(ctx, conn, ids)
}

// world gives databases that are copies of what fill and kept make. It has a
// cluster of its own since the times of commits must be kept.
type world struct {
	cluster *devpg.Cluster
	admin   *pgx.Conn
	copies  int
}

func newWorld(t *testing.T) *world {
	cluster := devpgtest.Cluster(t, map[string]string{"track_commit_timestamp": "on"})
	connect := func(database string) *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), cluster.DSN(database))
		require.NoError(t, err)
		return conn
	}
	w := &world{cluster: cluster, admin: connect("postgres")}
	t.Cleanup(func() { _ = w.admin.Close(context.Background()) })
	_, err := w.admin.Exec(t.Context(), `CREATE DATABASE kept`)
	require.NoError(t, err)
	conn := connect("kept")
	require.NoError(t, fill(t.Context(), conn))
	_, err = conn.Exec(t.Context(), kept)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	return w
}

// audit damages a copy and audits it.
func (w *world) audit(t *testing.T, damage string) audit.Report {
	w.copies++
	name := fmt.Sprintf("copy_%d", w.copies)
	_, err := w.admin.Exec(t.Context(), fmt.Sprintf(`CREATE DATABASE %s TEMPLATE kept`, name))
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), w.cluster.DSN(name))
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(t.Context(), damage)
	require.NoError(t, err)
	report, err := audit.Run(t.Context(), conn)
	require.NoError(t, err)
	return report
}

func TestAuditFindsEachBreach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clean := audit.Report{Messages: 4, Results: 4, Executions: 6, ExecutedAgain: 1, DeadLetters: 1}
	for _, c := range []struct {
		name, damage string
		change       func(*audit.Report)
	}{
		{"a kept promise", ``, func(*audit.Report) {}},
		{
			"a message without a trace",
			`DELETE FROM pgmq.a_work_queue WHERE message->>'id' = '4'; DELETE FROM pgmq.q_work_results WHERE message->>'correlation_id' = '4'`,
			func(r *audit.Report) { r.Lost, r.Results = 1, 3 },
		},
		{
			"a message without a result",
			`DELETE FROM pgmq.q_work_results WHERE message->>'correlation_id' = '1'`,
			func(r *audit.Report) { r.Lost, r.Results = 1, 3 },
		},
		{
			"a dead letter without a result",
			`DELETE FROM pgmq.q_work_results WHERE message->>'correlation_id' = '3'`,
			func(r *audit.Report) { r.Lost, r.Results = 1, 3 },
		},
		{
			"a result without a place",
			`DELETE FROM pgmq.a_work_queue WHERE message->>'id' = '4'`,
			func(r *audit.Report) { r.Lost = 1 },
		},
		{
			"a message that was left in the queue",
			`DELETE FROM pgmq.q_work_results WHERE message->>'correlation_id' = '4';
			WITH back AS (DELETE FROM pgmq.a_work_queue WHERE message->>'id' = '4' RETURNING message)
			INSERT INTO pgmq.q_work_queue (vt, message) SELECT now(), message FROM back`,
			func(r *audit.Report) { r.Lost, r.Results = 1, 3 },
		},
		{
			"a committed send that the database forgot",
			`INSERT INTO chaos.acked VALUES (5)`,
			func(r *audit.Report) { r.Lost, r.Messages = 1, 5 },
		},
		{
			"a second result",
			`INSERT INTO pgmq.q_work_results (vt, message) SELECT now(), message FROM pgmq.q_work_results WHERE message->>'correlation_id' = '1'`,
			func(r *audit.Report) { r.SettledTwice, r.Results = 1, 5 },
		},
		{
			"a second result that somebody has read",
			`INSERT INTO pgmq.a_work_results (msg_id, enqueued_at, read_ct, vt, message)
			SELECT 100, now(), 1, now(), message FROM pgmq.q_work_results WHERE message->>'correlation_id' = '1'`,
			func(r *audit.Report) { r.SettledTwice, r.Results = 1, 5 },
		},
		{
			"a message that is archived and dead",
			`INSERT INTO pgmq.q_work_dead (vt, message) SELECT now(), message FROM pgmq.a_work_queue WHERE message->>'id' = '1'`,
			func(r *audit.Report) { r.SettledTwice, r.Misjudged, r.DeadLetters = 1, 1, 2 },
		},
		{
			"a message that is archived and still queued",
			`INSERT INTO pgmq.q_work_queue (vt, message) SELECT now(), message FROM pgmq.a_work_queue WHERE message->>'id' = '1'`,
			func(r *audit.Report) { r.SettledTwice, r.Lost = 1, 1 },
		},
		{
			"a result of nothing that was sent",
			`INSERT INTO pgmq.q_work_results (vt, message) VALUES (now(), '{"correlation_id": "99", "success": true}'), (now(), '{}')`,
			func(r *audit.Report) { r.Stray, r.Results = 2, 6 },
		},
		{
			"a dead letter of nothing that was sent",
			`INSERT INTO pgmq.q_work_dead (vt, message) VALUES (now(), '{"id": 99}')`,
			func(r *audit.Report) { r.Stray = 1 },
		},
		{
			"an execution of nothing that was sent",
			`INSERT INTO chaos.execution VALUES (99, 'x', 1, 1, now(), now(), 'ok')`,
			func(r *audit.Report) { r.Stray, r.Executions = 1, 7 },
		},
		{
			"a success without what it emitted",
			`DELETE FROM pgmq.q_work_emits WHERE message->>'id' = '1'`,
			func(r *audit.Report) { r.Lost = 1 },
		},
		{
			"a success that emitted twice",
			`INSERT INTO pgmq.q_work_emits (vt, message) VALUES (now(), '{"id": 2}')`,
			func(r *audit.Report) { r.SettledTwice = 1 },
		},
		{
			"a failure whose emitted message was sent",
			`INSERT INTO pgmq.q_work_emits (vt, message) VALUES (now(), '{"id": 3}')`,
			func(r *audit.Report) { r.Stray = 1 },
		},
		{
			"what was emitted by nothing that was sent",
			`INSERT INTO pgmq.q_work_emits (vt, message) VALUES (now(), '{"id": 99}'), (now(), '{}')`,
			func(r *audit.Report) { r.Stray = 2 },
		},
		{
			"an archived message whose result tells of failure",
			`UPDATE pgmq.q_work_results SET message = message || '{"success": false}' WHERE message->>'correlation_id' = '1'`,
			func(r *audit.Report) { r.Contradictory = 1 },
		},
		{
			"a good message in the dead letters",
			`UPDATE chaos.sent SET expected = 'done' WHERE id = 3`,
			func(r *audit.Report) { r.Misjudged = 1 },
		},
		{
			"a bad message in the archive",
			`UPDATE chaos.sent SET expected = 'dead' WHERE id = 1`,
			func(r *audit.Report) { r.Misjudged = 1 },
		},
		{
			"a success of nobody",
			`DELETE FROM chaos.execution WHERE id = 1`,
			func(r *audit.Report) { r.NeverRan, r.Executions = 1, 5 },
		},
		{
			"a success whose execution was killed",
			`UPDATE chaos.execution SET outcome = NULL, ended_at = NULL WHERE id = 1`,
			func(r *audit.Report) { r.NeverRan = 1 },
		},
		{
			"an attempt that a kill has spent",
			`UPDATE chaos.execution SET attempt = 2 WHERE execution = 'f'`,
			func(r *audit.Report) { r.Unearned, r.ExecutedAgain = 1, 0 },
		},
		{
			"a failure on record that no execution had",
			`UPDATE pgmq.a_work_queue SET headers = '{"stephost": {"failures": 1}}' WHERE message->>'id' = '1'`,
			func(r *audit.Report) { r.Unearned = 1 },
		},
		{
			"a second execution of the same attempt",
			`INSERT INTO chaos.execution SELECT id, 'x', attempt, pid, started_at, ended_at, outcome FROM chaos.execution WHERE id = 1`,
			func(r *audit.Report) { r.ExecutedAgain, r.Executions = 2, 7 },
		},
		{
			"an execution after the settlement",
			`INSERT INTO chaos.execution SELECT id, 'x', attempt, pid, now() + interval '1 minute', NULL, NULL FROM chaos.execution WHERE id = 1`,
			func(r *audit.Report) { r.Late, r.ExecutedAgain, r.Executions = 1, 2, 7 },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := clean
			c.change(&want)
			got := w.audit(t, c.damage)
			require.Equal(t, want.Breaches() == nil, got.Breaches() == nil, "%v", got.Breaches())
			got.Examples, got.Pickup = nil, 0
			require.Equal(t, want, got)
		})
	}
}

func TestPickupIsFromTheCommitOfTheSendToTheFirstExecution(t *testing.T) {
	t.Parallel()
	report := newWorld(t).audit(t, `
		UPDATE chaos.execution e SET started_at = pg_xact_commit_timestamp(s.xmin) + interval '7 seconds' FROM chaos.sent s WHERE s.id = e.id AND e.id IN (1, 2);
		UPDATE chaos.execution e SET started_at = pg_xact_commit_timestamp(s.xmin) + interval '3 seconds' FROM chaos.sent s WHERE s.id = e.id AND execution = 'b';
		UPDATE chaos.execution e SET started_at = pg_xact_commit_timestamp(s.xmin) + interval '5 seconds' FROM chaos.sent s WHERE s.id = e.id AND execution = 'a'`)
	require.Equal(t, 5*time.Second, report.Pickup, "the second attempt of a message is not its pickup")
}

func TestPickupOfADelayedMessageIsFromWhenItIsDue(t *testing.T) {
	t.Parallel()
	report := newWorld(t).audit(t, `
		UPDATE chaos.execution e SET started_at = pg_xact_commit_timestamp(s.xmin) + interval '6 seconds' FROM chaos.sent s WHERE s.id = e.id AND e.id = 4`)
	require.Equal(t, 2*time.Second, report.Pickup)
}
