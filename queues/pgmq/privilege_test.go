package pgmq

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// poor is a role that has nothing, not even what everybody has by default.
type poor struct {
	*bundle
	role string
	dsn  string
	load Workload
	// before runs as superuser before each attempt.
	before string
}

func setupPoor(t *testing.T, b *bundle) *poor {
	t.Helper()
	p := &poor{bundle: b, load: Workload{Consume: []string{"orders"}, Send: []string{"results"}, Dead: []string{"dead"}}}
	var database string
	require.NoError(t, b.db.QueryRow(t.Context(), "SELECT current_database()").Scan(&database))
	p.role = database + "_host"
	u, err := url.Parse(b.dsn)
	require.NoError(t, err)
	u.User = url.User(p.role)
	p.dsn = u.String()

	b.create("orders", "results", "dead")
	b.exec(fmt.Sprintf(`CREATE ROLE %s LOGIN; REVOKE CONNECT, TEMPORARY ON DATABASE %s FROM PUBLIC;
		REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA pgmq FROM PUBLIC; REVOKE EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text) FROM PUBLIC;
		REVOKE ALL ON SCHEMA public FROM PUBLIC`, p.role, database))
	t.Cleanup(func() {
		_, err := b.db.Exec(context.Background(), fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", p.role))
		require.NoError(t, err)
	})
	p.fresh()
	return p
}

func (p *poor) privileges(tasks ...Task) []Privilege {
	p.t.Helper()
	list, err := Privileges(p.t.Context(), p.db, p.load, tasks...)
	require.NoError(p.t, err)
	require.NotEmpty(p.t, list)
	return list
}

func (p *poor) grant(privileges ...Privilege) {
	p.t.Helper()
	for _, statement := range Grants(p.role, privileges) {
		p.exec(statement)
	}
}

// fresh removes what an earlier attempt left, and gives the next one work.
func (p *poor) fresh() {
	p.t.Helper()
	p.exec(`DELETE FROM pgmq.q_orders; DELETE FROM pgmq.q_dead; DELETE FROM pgmq.q_results; DELETE FROM pgmq.a_orders`)
	p.send("orders", `1`, `2`, `3`, `4`)
	if p.before != "" {
		p.exec(p.before)
	}
}

// perform does all that a host does, as the role. The error is the first one
// that says that a privilege is missing; doing is what was being done then.
func (p *poor) perform() (doing []Task, err error) {
	ctx := p.t.Context()
	b, err := Open(ctx, Options{DSN: p.dsn, MaxConnections: 3, OnComplete: p.load.OnComplete, Notifications: p.load.Notifications})
	if err != nil {
		return []Task{TaskConnect}, err
	}
	defer b.Close()
	subscription, err := b.Subscribe(ctx, []string{"orders"})
	if err != nil {
		return []Task{TaskListen}, err
	}
	defer func() { _ = subscription.Close() }()
	if err := subscription.Verify(ctx); err != nil {
		return []Task{TaskListen}, err
	}
	states, err := b.Probe(ctx, []string{"orders"})
	if err == nil {
		err = states[0].Err
	}
	if err != nil {
		return []Task{TaskFind}, err
	}
	got, err := b.Claim(ctx, queues.ClaimRequest{Queue: "orders", Limit: 10, Lease: time.Minute})
	if err != nil {
		return []Task{TaskClaim, TaskBookkeeping}, err
	}
	require.Len(p.t, got, 4)
	if _, _, err := b.Body(ctx, got[0].Lease); err != nil {
		return []Task{TaskClaim}, err
	}
	if _, err := b.Extend(ctx, "orders", []queues.Lease{got[0].Lease}, time.Minute); err != nil {
		return []Task{TaskExtend}, err
	}
	result := []queues.Outgoing{{Queue: "results", Body: []byte(`{}`)}, {Queue: "results", Body: []byte(`{}`), Headers: []byte(`{}`), Delay: time.Millisecond}}
	for i, end := range []struct {
		action queues.Action
		tasks  []Task
	}{
		{queues.Retry{}, []Task{TaskGiveBack, TaskBookkeeping}},
		{queues.Release{}, []Task{TaskGiveBack, TaskBookkeeping}},
		{queues.Complete{}, []Task{TaskComplete, TaskArchive, TaskBookkeeping}},
		{queues.DeadLetter{Queue: "dead", Send: result}, []Task{TaskDeadLetter, TaskSend, TaskBookkeeping}},
	} {
		settled := b.Settle(ctx, "orders", []queues.Settlement{{Lease: got[i].Lease, Action: end.action}})[0]
		if settled.Err != nil {
			return end.tasks, settled.Err
		}
		require.Equal(p.t, queues.Settled, settled.Status)
	}
	counts, err := b.CountMessages(ctx, []string{"dead"}, 10)
	if err == nil {
		err = counts[0].Err
	}
	if err != nil {
		return []Task{TaskCount}, err
	}
	return []Task{TaskPrune}, p.prune(b)
}

func (p *poor) prune(b *Broker) error {
	ctx := p.t.Context()
	for _, queue := range p.load.PruneArchives {
		pass, err := b.PruneArchive(ctx, queue, ArchiveLimits{Age: time.Microsecond, Bytes: 1})
		if err != nil {
			return err
		}
		if _, _, err := pass.Delete(ctx, 10); err != nil {
			return err
		}
	}
	for _, queue := range p.load.PruneDead {
		pass, err := b.PruneDeadLetters(ctx, queue, 0)
		if err != nil {
			return err
		}
		if _, _, err := pass.Delete(ctx, 10); err != nil {
			return err
		}
	}
	return nil
}

// requireDenied tells that an error is about a privilege, and that the error
// itself says which statement gives it.
func requireDenied(t *testing.T, err error, role string, p Privilege) {
	t.Helper()
	require.Error(t, err, "it works without %s", p)
	require.Equal(t, "42501", sqlState(err), "without %s: %v", p, err)
	var denied *PermissionError
	require.ErrorAs(t, err, &denied, "without %s", p)
	require.ErrorContains(t, err, ": run GRANT ")
	require.True(t, strings.HasSuffix(denied.Grant, " TO "+role), denied.Grant)
	if p.Kind == OwnerRole {
		require.Contains(t, denied.Grant, "the owner of pgmq.")
		return
	}
	require.Contains(t, denied.Grant, p.Right)
	object := strings.ReplaceAll(string(p.Kind)+" "+p.Object, `"`, "")
	if strings.HasPrefix(object, "FUNCTION pgmq.") {
		object = "ALL FUNCTIONS IN SCHEMA pgmq"
	}
	require.Contains(t, strings.ReplaceAll(denied.Grant, `"`, ""), object)
}

func TestAHostNeedsExactlyItsPrivileges(t *testing.T) {
	t.Parallel()
	for name, variant := range map[string]func(t *testing.T) *poor{
		"1.4.4": func(t *testing.T) *poor { return setupPoor(t, setup(t, pgmqtest.V1_4)) },
		"1.4.4 at its first start": func(t *testing.T) *poor {
			p := setupPoor(t, setup(t, pgmqtest.V1_4))
			p.before = `DROP SCHEMA IF EXISTS stephost CASCADE`
			p.exec(p.before)
			return p
		},
		"1.4.4 with an empty schema": func(t *testing.T) *poor {
			p := setupPoor(t, setup(t, pgmqtest.V1_4))
			p.before = `DROP TABLE IF EXISTS stephost.bookkeeping`
			p.exec(p.before)
			return p
		},
		"1.10":     func(t *testing.T) *poor { return setupPoor(t, setup(t, pgmqtest.V1_10)) },
		"upgraded": func(t *testing.T) *poor { return setupPoor(t, setup(t, pgmqtest.Upgraded)) },
		"ours":     func(t *testing.T) *poor { return setupPoor(t, setup(t, ours)) },
		"delete": func(t *testing.T) *poor {
			p := setupPoor(t, setup(t, ours))
			p.load.OnComplete = Delete
			return p
		},
		"retention": func(t *testing.T) *poor {
			p := setupPoor(t, setup(t, ours))
			p.load.PruneArchives, p.load.PruneDead = []string{"orders"}, []string{"dead"}
			return p
		},
		"tasker": func(t *testing.T) *poor {
			p := setupPoor(t, setup(t, pgmqtest.V1_5))
			require.NoError(t, pgmqtest.InstallTasker(t.Context(), p.db))
			p.exec(`REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA tasker FROM PUBLIC`)
			return p
		},
		"tasker's channels": func(t *testing.T) *poor {
			p := setupPoor(t, setup(t, pgmqtest.V1_5))
			p.load.Notifications = NotifyTasker
			return p
		},
		"throttled by pgmq": func(t *testing.T) *poor {
			p := setupPoor(t, setup(t, pgmqtest.V1_10))
			p.exec(throttledByPGMQ)
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := variant(t)
			needed := p.privileges(HostTasks()...)
			p.grant(needed...)
			_, err := p.perform()
			require.NoError(t, err, "all that is needed is granted")
			for _, one := range needed {
				require.NotEmpty(t, one.Tasks, one)
				p.fresh()
				p.exec(one.Revoke(p.role))
				doing, err := p.perform()
				requireDenied(t, err, p.role, one)
				require.Condition(t, func() bool {
					return slices.ContainsFunc(doing, func(task Task) bool { return slices.Contains(one.Tasks, task) })
				},
					"%s is said to be for %v, and %v fails without it: %v", one, one.Tasks, doing, err)
				require.Equal(t, []Privilege{one}, p.missing(needed))
				var denied *PermissionError
				require.ErrorAs(t, err, &denied)
				p.exec(denied.Grant)
			}
			require.Empty(t, p.missing(needed))
		})
	}
}

// throttledByPGMQ is how pgmq itself throttles since 1.9: with the rights of
// who inserts.
const throttledByPGMQ = `
CREATE TABLE pgmq.notify_insert_throttle (queue_name varchar UNIQUE, last_notified_at timestamptz NOT NULL DEFAULT to_timestamp(0));
INSERT INTO pgmq.notify_insert_throttle VALUES ('dead'), ('results');
CREATE OR REPLACE FUNCTION pgmq.notify_queue_listeners() RETURNS trigger LANGUAGE plpgsql AS $fn$
BEGIN
	UPDATE pgmq.notify_insert_throttle SET last_notified_at = clock_timestamp() WHERE queue_name = substring(TG_TABLE_NAME FROM 3);
	PERFORM pg_notify('pgmq.' || TG_TABLE_NAME || '.INSERT', NULL);
	RETURN NULL;
END $fn$`

// missing asks as the role, over a connection that is not its own: without
// CONNECT it could not ask.
func (p *poor) missing(needed []Privilege) []Privilege {
	p.t.Helper()
	p.exec("SET ROLE " + p.role)
	defer p.exec("RESET ROLE")
	missing, err := MissingPrivileges(p.t.Context(), p.db, needed)
	require.NoError(p.t, err)
	return missing
}

// tool is a command for operators. before runs as superuser, and restores what
// the one before has changed.
type tool struct {
	load   Workload
	before func(p *poor)
	run    func(ctx context.Context, b *Broker) error
}

func tools() map[Task]tool {
	nothing := func(*poor) {}
	return map[Task]tool{
		TaskInspect: {
			Workload{Consume: []string{"orders"}, Send: []string{"results"}, Dead: []string{"dead"}}, nothing,
			func(ctx context.Context, b *Broker) error {
				_, listed := b.ListQueues(ctx)
				_, peeked := b.Peek(ctx, "orders", 1)
				_, dead := b.DeadList(ctx, "dead", DeadFilter{}, 0, 1)
				return errors.Join(listed, peeked, dead)
			},
		},
		TaskReplay: {
			Workload{Consume: []string{"orders"}, Dead: []string{"dead"}},
			func(p *poor) {
				p.exec(`DELETE FROM pgmq.q_dead`)
				p.mustEnd(p.claimOne("orders").Lease, queues.DeadLetter{Queue: "dead"})
				p.exec(`UPDATE pgmq.q_orders SET vt = statement_timestamp()`)
			},
			func(ctx context.Context, b *Broker) error {
				report, err := b.DeadReplay(ctx, "dead", DeadFilter{}, ReplayOptions{})
				if err == nil && report.Done != 1 {
					err = fmt.Errorf("replayed %+v", report)
				}
				return err
			},
		},
		TaskDiscard: {
			Workload{Dead: []string{"dead"}},
			func(p *poor) { p.exec(`INSERT INTO pgmq.q_dead (vt) VALUES (statement_timestamp())`) },
			func(ctx context.Context, b *Broker) error {
				report, err := b.DeadDiscard(ctx, "dead", DeadFilter{}, DiscardOptions{})
				if err == nil && report.Done == 0 {
					err = fmt.Errorf("discarded %+v", report)
				}
				return err
			},
		},
		TaskPurge: {
			Workload{Consume: []string{"orders"}}, nothing,
			func(ctx context.Context, b *Broker) error {
				_, err := b.Purge(ctx, "orders")
				return err
			},
		},
		TaskCreate: {
			Workload{}, nothing,
			func(ctx context.Context, b *Broker) error {
				_, err := b.CreateQueue(ctx, "new")
				return err
			},
		},
		TaskDrop: {
			Workload{Consume: []string{"short"}},
			func(p *poor) {
				_, err := p.CreateQueue(p.t.Context(), "short")
				require.NoError(p.t, err)
				p.exec(fmt.Sprintf(`ALTER TABLE pgmq.q_short OWNER TO %[1]s; ALTER TABLE pgmq.a_short OWNER TO %[1]s`, p.owner()))
			},
			func(ctx context.Context, b *Broker) error {
				_, err := b.DropQueue(ctx, "short")
				return err
			},
		},
	}
}

// owner is a role that the poor one may become a member of.
func (p *poor) owner() string { return p.role + "_owner" }

func TestEachToolNeedsExactlyItsPrivileges(t *testing.T) {
	t.Parallel()
	overLayouts(t, func(t *testing.T, b *bundle) {
		p := setupPoor(t, b)
		p.exec(fmt.Sprintf("CREATE ROLE %s; GRANT CONNECT ON DATABASE %s TO %s", p.owner(), strings.TrimSuffix(p.role, "_host"), p.role))
		t.Cleanup(func() {
			_, err := b.db.Exec(context.Background(), fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", p.owner()))
			require.NoError(t, err)
		})
		for task, tool := range tools() {
			p.load = tool.load
			for without, count := -1, 0; without < max(count, 1); without++ {
				p.fresh()
				tool.before(p)
				needed := p.privileges(task)
				count = len(needed)
				p.grant(needed...)
				if without >= 0 {
					p.exec(needed[without].Revoke(p.role))
				}
				err := p.as(tool.run)
				if without < 0 {
					require.NoError(t, err, "%s: all that is needed is granted", task)
				} else {
					requireDenied(t, err, p.role, needed[without])
				}
				p.forget(needed)
			}
		}
	})
}

func (p *poor) as(run func(ctx context.Context, b *Broker) error) error {
	p.t.Helper()
	b, err := Open(p.t.Context(), Options{DSN: p.dsn, MaxConnections: 3})
	require.NoError(p.t, err)
	defer b.Close()
	return run(p.t.Context(), b)
}

// forget takes everything from the role, but what it connects with, and drops
// what it made.
func (p *poor) forget(granted []Privilege) {
	p.t.Helper()
	for _, one := range granted {
		if one.Kind == OwnerRole {
			p.exec(one.Revoke(p.role))
		}
	}
	p.exec("DROP OWNED BY " + p.role)
	p.exec(`DELETE FROM pgmq.meta WHERE to_regclass('pgmq.q_' || queue_name) IS NULL`)
	p.exec(fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", strings.TrimSuffix(p.role, "_host"), p.role))
	_, err := p.DropQueue(p.t.Context(), "short")
	require.NoError(p.t, err)
}

func TestPrivilegesOfInstallation(t *testing.T) {
	t.Parallel()
	b := open(t, devpgtest.New(t))
	p := &poor{bundle: b}
	require.Equal(t, []string{"CREATE"}, rights(p.privileges(TaskInstall)))
}

func rights(privileges []Privilege) []string {
	var list []string
	for _, p := range privileges {
		list = append(list, p.Right)
	}
	return list
}

func TestGrantsAreForEachObject(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{
		`GRANT SELECT, UPDATE ON TABLE pgmq.q_orders TO host`,
		`GRANT EXECUTE ON FUNCTION pgmq._notify_due(text) TO host`,
		`GRANT owner TO host`,
	}, Grants("host", []Privilege{
		{Right: "SELECT", Kind: Table, Object: "pgmq.q_orders"},
		{Right: "EXECUTE", Kind: Function, Object: "pgmq._notify_due(text)"},
		{Kind: OwnerRole, Object: "owner"},
		{Right: "UPDATE", Kind: Table, Object: "pgmq.q_orders"},
	}))
	for name, quoted := range map[string]string{"host": "host", "user": `"user"`, "Host": `"Host"`, "my-host": `"my-host"`, "1": `"1"`, "": `""`} {
		require.Equal(t, "GRANT owner TO "+quoted, Privilege{Kind: OwnerRole, Object: "owner"}.Grant(name))
	}
}

func TestKeyWordsAreQuoted(t *testing.T) {
	t.Parallel()
	db, err := pgx.Connect(t.Context(), devpgtest.New(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close(context.Background())) })
	rows, err := db.Query(t.Context(), `SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')`)
	require.NoError(t, err)
	words, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.NotEmpty(t, words)
	for _, word := range words {
		require.Equal(t, `"`+word+`"`, quoteName(word))
	}
}
