package host_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// meddling is what somebody does to the tables of a queue while a host works on
// it. $q and $a stand for its tables, $n for its name.
type meddling struct {
	sql string
	// says is what the host's health says about it; empty: it goes on.
	says string
	mend string
	// loses: the messages that were there are gone with what was done.
	loses bool
	// body is what is sent meanwhile, else an empty object.
	body string
}

func meddlings() map[string]meddling {
	return map[string]meddling{
		"column_added":     {sql: `ALTER TABLE $q ADD COLUMN extra text; ALTER TABLE $a ADD COLUMN extra int DEFAULT 7`},
		"index_dropped":    {sql: `DO $do$ BEGIN EXECUTE (SELECT 'DROP INDEX pgmq.' || indexname FROM pg_indexes WHERE schemaname = 'pgmq' AND tablename = 'q_$n' AND indexdef LIKE '%(vt)%'); END $do$`},
		"count_widened":    {sql: `ALTER TABLE $q ALTER COLUMN read_ct TYPE bigint`},
		"id_narrowed":      {sql: `ALTER TABLE $q ALTER COLUMN msg_id TYPE int`},
		"headers_dropped":  {sql: `ALTER TABLE $q DROP COLUMN headers`, body: `{"fail": "no luck"}`},
		"truncated":        {sql: `TRUNCATE $q`, loses: true},
		"archive_cleared":  {sql: `TRUNCATE $a`},
		"made_anew":        {sql: `SELECT pgmq.drop_queue('$n'); SELECT pgmq.create('$n')`, loses: true},
		"dead_dropped":     {sql: `SELECT pgmq.drop_queue('dead_dropped_dead')`, body: `{"fail": "for good", "permanent": true}`},
		"column_renamed":   {sql: `ALTER TABLE $q RENAME COLUMN message TO body`, says: `put the columns back`, mend: `ALTER TABLE $q RENAME COLUMN body TO message`},
		"vt_dropped":       {sql: `ALTER TABLE $q RENAME COLUMN vt TO visible`, says: `put the columns back`, mend: `ALTER TABLE $q RENAME COLUMN visible TO vt`},
		"type_changed":     {sql: `ALTER TABLE $q ALTER COLUMN vt TYPE text`, says: `put the columns back, with their types`, mend: `ALTER TABLE $q ALTER COLUMN vt TYPE timestamptz USING vt::timestamptz`},
		"table_renamed":    {sql: `ALTER TABLE $q RENAME TO moved`, says: `queue "$n" does not exist: create it with ` + "`stephost queue create $n`", mend: `ALTER TABLE pgmq.moved RENAME TO q_$n`},
		"dropped":          {sql: `SELECT pgmq.drop_queue('$n')`, says: `queue "$n" does not exist`, mend: `SELECT pgmq.create('$n')`, loses: true},
		"archive_dropped":  {sql: `ALTER TABLE $a RENAME TO stowed`, says: `no archive table`, mend: `ALTER TABLE pgmq.stowed RENAME TO a_$n`},
		"archive_narrowed": {sql: `ALTER TABLE $a RENAME COLUMN message TO body`, says: `put the columns back`, mend: `ALTER TABLE $a RENAME COLUMN body TO message`},
		"archive_demands":  {sql: `ALTER TABLE $a ADD COLUMN demanded text NOT NULL DEFAULT ''; ALTER TABLE $a ALTER COLUMN demanded DROP DEFAULT`, says: `give column demanded a default`, mend: `ALTER TABLE $a ALTER COLUMN demanded SET DEFAULT 'x'`},
		"trigger_raises": {
			sql: `CREATE FUNCTION raises() RETURNS trigger LANGUAGE plpgsql AS $do$ BEGIN RAISE 'somebody does not want this'; END $do$;
				CREATE TRIGGER raises BEFORE UPDATE ON $q FOR EACH ROW EXECUTE FUNCTION raises()`,
			says: `somebody does not want this`, mend: `DROP TRIGGER raises ON $q`,
		},
	}
}

func (m meddling) on(namespace, text string) string {
	return strings.NewReplacer("$q", "pgmq.q_"+namespace+"_queue", "$a", "pgmq.a_"+namespace+"_queue", "$n", namespace+"_queue").Replace(text)
}

// Everything at once, each to a namespace of its own: each goes on, or says what
// is the matter until that is mended, and none is in the others' way.
func TestTablesThatAreMeddledWith(t *testing.T) {
	t.Parallel()
	all := meddlings()
	names := slices.Sorted(maps.Keys(all))
	c := conf{"event_system.fallback_poller.polling_interval": `"200ms"`}
	var queues []string
	for _, name := range names {
		block := "namespace:" + name
		c = c.with(conf{
			block + ".plugin": `"test"`, block + ".result_queue": `"results"`,
			block + ".retry.max_attempts": "2", block + ".retry.initial": `"1ms"`, block + ".retry.max": `"1ms"`,
		})
		queues = append(queues, name+"_queue", name+"_dead")
	}
	b := startConfigured(t, c, queues...)
	// Nothing is new to the host when it begins.
	for _, name := range names {
		b.send(name+"_queue", `{}`)
	}
	want := len(names)
	b.results(want)

	for _, name := range names {
		m := all[name]
		body := m.body
		if body == "" {
			body = `{}`
		}
		insert := fmt.Sprintf(`INSERT INTO pgmq.q_%s_queue (vt, message) SELECT clock_timestamp(), '%s' FROM generate_series(1, 3);`, name, body)
		put := insert
		if m.loses {
			put = ""
		} else {
			want += 3
		}
		// In one transaction: the host cannot be done with them before.
		_, err := b.db.Exec(t.Context(), "BEGIN;"+put+m.on(name, m.sql)+";COMMIT")
		require.NoError(t, err, name)
		if m.says == "" {
			b.sql(insert)
			want += 3
		}
	}
	b.send("b_queue", bodies(20, `{}`)...)
	want += 20
	b.eventually("the healthy namespace is done", func() bool { return b.Settled(t.Context(), "b") == 20 })
	for _, name := range names {
		m := all[name]
		if m.says == "" {
			continue
		}
		b.eventually("the health speaks of "+name, func() bool {
			status := b.namespace(name)
			return strings.Contains(strings.Join(b.Status(t.Context()).Health.Reasons, "\n"), name) &&
				strings.Contains(strings.Join(status.Faults, "\n"), m.on(name, m.says))
		})
	}
	for _, name := range names {
		if m := all[name]; m.says != "" {
			_, err := b.db.Exec(t.Context(), m.on(name, m.mend))
			require.NoError(t, err, name)
		}
	}
	b.eventually("everything is done", func() bool { return b.count(`SELECT count(*) FROM pgmq.q_results`) >= want })
	b.eventually("the host is healthy again", func() bool { return b.Status(t.Context()).Health.Status == "Healthy" })

	b.sql(`ALTER SCHEMA pgmq RENAME TO elsewhere`)
	b.eventually("the health speaks of the schema", func() bool {
		return strings.Contains(strings.Join(b.Status(t.Context()).Health.Reasons, "\n"), "does not exist")
	})
	b.sql(`ALTER SCHEMA elsewhere RENAME TO pgmq`)
	b.send("a_queue", bodies(5, `{}`)...)
	want += 5
	b.eventually("everything is done", func() bool { return b.count(`SELECT count(*) FROM pgmq.q_results`) >= want })
	require.Equal(t, want, b.count(`SELECT count(*) FROM pgmq.q_results`))
	require.Equal(t, 6, b.count(`SELECT count(*) FROM pgmq.q_headers_dropped_dead`), "failures are counted beside the queue")
	b.eventually("the host is healthy again", func() bool { return b.Status(t.Context()).Health.Status == "Healthy" })
}
