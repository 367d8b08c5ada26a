package doctor

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/checkup"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

func TestHealthyDatabase(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	found := p.examine()
	checks := new(exam).checks()
	seen := map[string]bool{}
	for _, f := range found {
		seen[f.Check] = true
		if f.Check == "durability" {
			continue // these clusters are made to be thrown away
		}
		require.Equal(t, checkup.OK, f.Severity, text(f))
		require.Empty(t, f.Fixes)
	}
	require.Len(t, seen, len(checks), "every check says something")
}

// Each sickness is made by SQL, found, and cured by what the finding says.
func TestSicknessIsFoundAndCuredByItsFix(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		check    string
		sicken   string
		target   func(*Target)
		severity checkup.Severity
		seen     string
	}{
		"no schema":            {check: "schema", sicken: `DROP SCHEMA pgmq CASCADE`, severity: checkup.Error, seen: "there is no schema pgmq"},
		"somebody's schema":    {check: "schema", sicken: `DROP SCHEMA pgmq CASCADE; CREATE SCHEMA pgmq; CREATE TABLE pgmq.t ()`, severity: checkup.Error, seen: "no table of queues"},
		"queue missing":        {check: "queues", sicken: `SELECT pgmq.drop_queue('orders_queue')`, severity: checkup.Error, seen: `the queue "orders_queue" of namespace "orders" does not exist`},
		"result queue missing": {check: "queues", sicken: `SELECT pgmq.drop_queue('results')`, severity: checkup.Error, seen: `the result queue "results"`},
		"dead letters missing": {check: "queues", sicken: `SELECT pgmq.drop_queue('orders_dead')`, severity: checkup.Warning, seen: `the dead-letter queue "orders_dead"`},
		"no index":             {check: "tables", sicken: `DROP INDEX pgmq.q_orders_queue_vt_idx`, severity: checkup.Warning, seen: "pgmq.q_orders_queue has no index on vt"},
		"no archive":           {check: "tables", sicken: `DROP TABLE pgmq.a_orders_queue`, severity: checkup.Error, seen: `queue "orders_queue" has no archive`},
		"unlogged":             {check: "tables", sicken: `ALTER TABLE pgmq.q_orders_queue SET UNLOGGED`, severity: checkup.Warning, seen: "unlogged"},
		"another type":         {check: "tables", sicken: `ALTER TABLE pgmq.q_orders_queue ALTER message TYPE json USING message::json`, severity: checkup.Error, seen: "column message of pgmq.q_orders_queue is of type json"},
		"no column":            {check: "tables", sicken: `ALTER TABLE pgmq.q_orders_queue DROP read_ct`, severity: checkup.Error, seen: "pgmq.q_orders_queue has no column read_ct"},
		"hidden functions": {
			check:    "search-path",
			sicken:   `CREATE SCHEMA evil; CREATE FUNCTION evil.octet_length(text) RETURNS int LANGUAGE sql AS 'SELECT 0'; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = evil, pg_catalog', current_database()); END $$`,
			severity: checkup.Error, seen: "octet_length(text)",
		},
		"read-only by default":  {check: "read-write", sicken: setting("default_transaction_read_only = on"), severity: checkup.Error, seen: "default_transaction_read_only is on"},
		"commits are forgotten": {check: "durability", sicken: setting("synchronous_commit = off"), severity: checkup.Warning, seen: "synchronous_commit is off"},
		"connection limit":      {check: "connections", sicken: `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 3', current_database()); END $$`, severity: checkup.Error, seen: "allows 3 connections"},
		"connection limit where something is deleted": {
			check: "connections", target: func(t *Target) { t.Queues[0].PruneArchive = true },
			sicken:   `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 3', current_database()); END $$`,
			severity: checkup.Error, seen: "a host needs up to 10 more (max_connections of the queue block, and LISTEN, and deleting what is old)",
		},
		"no trigger":           {check: "notifications", sicken: `SELECT pgmq.disable_notify_insert('orders_queue')`, severity: checkup.Warning, seen: `queue "orders_queue" has no trigger`},
		"trigger disabled":     {check: "notifications", sicken: `ALTER TABLE pgmq.q_orders_queue DISABLE TRIGGER USER`, severity: checkup.Warning, seen: "is disabled"},
		"trigger for replicas": {check: "notifications", sicken: `ALTER TABLE pgmq.q_orders_queue ENABLE REPLICA TRIGGER trigger_notify_queue_insert_listeners`, severity: checkup.Warning, seen: "is disabled"},
		"trigger does nothing": {check: "notifications", sicken: `CREATE OR REPLACE FUNCTION pgmq.notify_queue_listeners() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`, severity: checkup.Warning, seen: "does not notify on channel pgmq.q_orders_queue.INSERT"},
		"trigger tells another channel": {
			check:    "notifications",
			sicken:   `CREATE OR REPLACE FUNCTION pgmq.notify_queue_listeners() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('INSERT.' || TG_TABLE_NAME, ''); RETURN NULL; END $$`,
			severity: checkup.Warning, seen: "does not notify on channel pgmq.q_orders_queue.INSERT",
		},
		"trigger calls another function": {
			check: "notifications",
			sicken: `CREATE FUNCTION public.silent() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
				DROP TRIGGER trigger_notify_queue_insert_listeners ON pgmq.q_orders_queue;
				CREATE TRIGGER trigger_notify_queue_insert_listeners AFTER INSERT ON pgmq.q_orders_queue FOR EACH ROW EXECUTE FUNCTION public.silent()`,
			severity: checkup.Warning, seen: "calls silent(), which does not notify",
		},
		"autovacuum off": {check: "autovacuum", sicken: `ALTER TABLE pgmq.q_orders_queue SET (autovacuum_enabled = off)`, severity: checkup.Warning, seen: "autovacuum is off for pgmq.q_orders_queue"},
		"autovacuum hopeless": {
			check:  "autovacuum",
			sicken: `ALTER TABLE pgmq.q_orders_queue SET (autovacuum_vacuum_threshold = 2000000)`, severity: checkup.Warning, seen: "autovacuum comes at 2000000",
		},
		"bloat": {
			check: "bloat", target: func(t *Target) { t.Limits.IndexBytes = 50_000 },
			sicken: `INSERT INTO pgmq.q_orders_queue (vt) SELECT now() + i * interval '1 second' FROM generate_series(1, 5000) i; DELETE FROM pgmq.q_orders_queue;
				SELECT pg_stat_force_next_flush(); SELECT 1`,
			severity: checkup.Warning, seen: "index pgmq.q_orders_queue_vt_idx",
		},
		"nobody's queue": {
			check:  "unused-queues",
			sicken: `SELECT pgmq.create('stray'); SELECT pgmq.send('stray', '{}'), pgmq.send('stray', '{}', 60)`, severity: checkup.Warning,
			seen: `queue "stray" has no namespace here: 2 messages`,
		},
		"far lease": {
			check:  "leases",
			sicken: `SELECT pgmq.send('orders_queue', '{}'); SELECT pgmq.read('orders_queue', 1000000, 1)`, severity: checkup.Warning,
			seen: `queue "orders_queue": 1 messages were delivered before and are not visible`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := healthy(t)
			if c.target != nil {
				c.target(&p.Target)
			}
			if c.check != "durability" {
				require.Equal(t, checkup.OK, p.one(c.check).Severity, text(p.examine(c.check)...))
			}
			p.exec(c.sicken)
			f := p.matching(c.check, c.seen)
			require.Equal(t, c.severity, f.Severity)
			require.NotEmpty(t, f.Why)
			p.follow(f)
			for _, left := range p.examine(c.check) {
				require.NotContains(t, left.Seen, c.seen, text(left))
			}
		})
	}
}

// setting makes one the database's default.
func setting(assignment string) string {
	return `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET ` + assignment + `', current_database()); END $$`
}

func TestMissingGrants(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	u, err := url.Parse(p.DSN)
	require.NoError(t, err)
	role := strings.TrimPrefix(u.Path, "/") + "_poor"
	p.exec(`CREATE ROLE ` + role + ` LOGIN`)
	t.Cleanup(func() {
		_, err := p.db.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role)
		require.NoError(t, err)
	})
	u.User = url.User(role)
	p.DSN = u.String()
	all := p.examine()
	for _, f := range all {
		switch f.Check {
		case "grants":
			require.Equal(t, checkup.Error, f.Severity)
			require.Len(t, f.Fixes, 1)
		case "unused-queues", "waiting", "steps", "leases", "deliveries", "dead-letters":
			require.Equal(t, checkup.Skipped, f.Severity, text(f))
			require.Contains(t, f.Seen, "permission denied")
		case "durability":
		default:
			require.Equal(t, checkup.OK, f.Severity, text(f))
		}
	}
	missing := p.examine("grants")
	require.Greater(t, len(missing), 5)
	for _, f := range missing {
		p.follow(f)
	}
	require.Equal(t, checkup.OK, p.one("grants").Severity)
	broker, err := pgmq.Open(t.Context(), pgmq.Options{DSN: p.DSN})
	require.NoError(t, err)
	defer broker.Close()
	_, err = broker.Claim(t.Context(), queues.ClaimRequest{Queue: "orders_queue", Limit: 1, Lease: time.Minute})
	require.NoError(t, err)
}

func TestSessionThatHoldsTheHorizon(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	other := p.session()
	_, err := other.Exec(t.Context(), `SET application_name = 'a report'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pgmq.meta`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	require.Equal(t, checkup.OK, p.one("xmin-horizon").Severity, "not for long")
	p.Limits.Transaction = time.Nanosecond
	f := p.one("xmin-horizon")
	require.Equal(t, checkup.Warning, f.Severity)
	require.Contains(t, f.Seen, fmt.Sprintf(`pid %d, user "postgres", application "a report", idle in transaction, is in a transaction for`, other.PgConn().PID()))
	require.Contains(t, f.Seen, "SELECT count(*) FROM pgmq.meta")
	require.Contains(t, f.Fixes[1].Text, "idle_in_transaction_session_timeout")
	f.Fixes = f.Fixes[:1] // the other one would outlive the test
	p.follow(f)
	require.Error(t, other.Ping(t.Context()))
	require.Equal(t, checkup.OK, p.one("xmin-horizon").Severity)
}

func TestLockedQueue(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	p.exec(`SELECT pgmq.send('orders_queue', '{}')`)
	other := p.session()
	_, err := other.Exec(t.Context(), `BEGIN; LOCK TABLE pgmq.q_orders_queue`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	f := p.one("locks")
	require.Equal(t, checkup.Warning, f.Severity)
	require.Contains(t, f.Seen, "has locked pgmq.q_orders_queue")
	skipped := p.one("waiting")
	require.Equal(t, checkup.Skipped, skipped.Severity, "it does not wait for the lock")
	require.Contains(t, skipped.Seen, "lock timeout")
	p.follow(f)
	require.Equal(t, checkup.OK, p.one("locks").Severity)
	require.Equal(t, checkup.OK, p.one("waiting").Severity)
}

func TestMessagesThatWait(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	p.exec(`SELECT pgmq.send('orders_queue', '{}'); UPDATE pgmq.q_orders_queue SET vt = now() - interval '1 hour'`)
	f := p.one("waiting")
	require.Equal(t, checkup.Warning, f.Severity)
	require.Contains(t, f.Seen, `queue "orders_queue": 1 message, the oldest visible for 1h0m`)
	require.Equal(t, "stephost run", f.Fixes[0].Text)

	host, err := pgmq.Open(t.Context(), pgmq.Options{DSN: p.DSN})
	require.NoError(t, err)
	defer host.Close()
	f = p.one("waiting")
	require.Contains(t, f.Why, "a host is connected")
	_, err = host.Claim(t.Context(), queues.ClaimRequest{Queue: "orders_queue", Limit: 1, Lease: time.Minute})
	require.NoError(t, err)
	require.Equal(t, checkup.OK, p.one("waiting").Severity)
}

func TestMessagesThatComeAgainAndAgain(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	p.exec(`SELECT pgmq.send('orders_queue', '{}') FROM generate_series(1, 3); UPDATE pgmq.q_orders_queue SET read_ct = 98 + msg_id`)
	f := p.one("deliveries")
	require.Equal(t, checkup.Warning, f.Severity)
	require.Contains(t, f.Seen, "2 messages were delivered 100 times or more; message 3, 101 times")
	p.follow(f)
	p.exec(`DELETE FROM pgmq.q_orders_queue WHERE msg_id > 1`)
	require.Equal(t, checkup.OK, p.one("deliveries").Severity)
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	for _, layout := range []pgmqtest.Layout{pgmqtest.V1_4, pgmqtest.V1_10} {
		t.Run(string(layout), func(t *testing.T) {
			t.Parallel()
			p := admit(t, pgmqtest.New(t, layout))
			host, err := pgmq.Open(t.Context(), pgmq.Options{DSN: p.DSN})
			require.NoError(t, err)
			defer host.Close()
			for _, name := range []string{"orders_queue", "orders_dead", "results"} {
				_, err := host.CreateQueue(t.Context(), name)
				require.NoError(t, err)
			}
			require.Equal(t, checkup.OK, p.one("dead-letters").Severity)
			_, err = host.Send(t.Context(), "orders_queue", make([]queues.Outgoing, 3))
			require.NoError(t, err)
			claimed, err := host.Claim(t.Context(), queues.ClaimRequest{Queue: "orders_queue", Limit: 3, Lease: time.Minute})
			require.NoError(t, err)
			for i, d := range claimed {
				record := queues.Record{Dead: &queues.Dead{Reason: "permanent", Error: []string{"card declined", "card\ndeclined", "no such order"}[i]}}
				result := host.Settle(t.Context(), "orders_queue", []queues.Settlement{{Lease: d.Lease, Action: queues.DeadLetter{Queue: "orders_dead", Record: record}}})
				require.NoError(t, result[0].Err)
			}
			f := p.one("dead-letters")
			require.Equal(t, checkup.Warning, f.Severity)
			require.Contains(t, f.Seen, `dead-letter queue "orders_dead": 3 messages`)
			require.Contains(t, f.Seen, "2 permanent: card declined; 1 permanent: no such order")
			require.Equal(t, "stephost dead list orders_dead", f.Fixes[0].Text)
			_, err = host.Purge(t.Context(), "orders_dead")
			require.NoError(t, err)
			require.Equal(t, checkup.OK, p.one("dead-letters").Severity)
		})
	}
}

func TestStepsThatNoHandlerTakes(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	p.exec(`SELECT pgmq.send('orders_queue', m) FROM unnest(ARRAY['{"step": "charge"}', '{"step": "chargé"}', '{"step": 7}', '{}', '[]', 'null']::jsonb[]) m`)
	found := p.examine("steps")
	require.Len(t, found, 3, text(found...))
	require.Contains(t, found[0].Seen, `messages in queue "orders_queue" name no step (member "step"), and the plugin has no default handler`)
	require.Contains(t, found[1].Seen, `are for step "7"; the plugin has charge, ship`)
	require.Contains(t, found[2].Seen, `are for step "chargé"`)
	p.Queues[0].HasDefault = true
	require.Len(t, p.examine("steps"), 2)
	p.Queues[0].Steps = append(p.Queues[0].Steps, "7", "chargé")
	require.Equal(t, checkup.OK, p.one("steps").Severity)
	p.Queues[0].Steps = nil
	require.Equal(t, checkup.Skipped, p.one("steps").Severity)
}

// What is in the database, and what its system tables say, is the same after an
// examination; but for the time at which a queue was announced.
func TestNothingIsChanged(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	p.exec(`SELECT pgmq.send('orders_queue', '{"step": "charge"}'), pgmq.send('orders_queue', '{}', 60); SELECT pgmq.read('orders_queue', 1000000, 1)`)
	look := func() (state string) {
		require.NoError(t, p.db.QueryRow(t.Context(), `
			SELECT concat_ws(E'\n',
				(SELECT string_agg(m::text, ',') FROM (SELECT ctid, xmin, * FROM pgmq.q_orders_queue ORDER BY msg_id) m),
				(SELECT string_agg(m::text, ',') FROM (SELECT ctid, xmin, * FROM pgmq.meta ORDER BY queue_name) m),
				(SELECT string_agg(s::text, ',') FROM (SELECT sequencename, last_value FROM pg_sequences ORDER BY 1) s),
				(SELECT string_agg(c::text, ',') FROM (SELECT oid, xmin, relname, relacl, reloptions FROM pg_class WHERE relnamespace = 'pgmq'::regnamespace ORDER BY oid) c),
				(SELECT string_agg(f::text, ',') FROM (SELECT oid, xmin FROM pg_proc WHERE pronamespace = 'pgmq'::regnamespace ORDER BY oid) f),
				(SELECT string_agg(nspname, ',' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'))`).Scan(&state))
		return state
	}
	before := look()
	require.Len(t, p.examine("leases"), 1)
	p.examine()
	require.Equal(t, before, look())
}

func TestNamesThatCannotBe(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	p.Queues = append(p.Queues, Queue{Namespace: "long", Name: strings.Repeat("x", 48), Dead: "Upper_dead", Result: "results"})
	found := p.examine("queues")
	require.Len(t, found, 2, text(found...))
	for i, key := range []string{"queue", "dead_letter"} {
		require.Equal(t, checkup.Error, found[i].Severity)
		require.Contains(t, found[i].Why, "1 to 47 lower-case letters")
		require.Equal(t, fmt.Sprintf("namespace %q {\n  %s = \"a_shorter_name\"\n}", "long", key), found[i].Fixes[0].Text)
	}
	p.Queues = nil
	require.Equal(t, checkup.Skipped, p.one("queues").Severity)
}
