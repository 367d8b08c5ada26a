package schema_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stephost/stephost/queues/pgmq/schema"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

func TestInstallAgainKeepsTheData(t *testing.T) {
	t.Parallel()
	d := empty(t)
	result, err := schema.Install(t.Context(), d.conn)
	require.NoError(t, err)
	require.Equal(t, schema.Result{From: 0, To: schema.Version}, result)
	d.exec("SELECT pgmq.create('q')")
	d.exec(`SELECT pgmq.send('q', '{"n": 1}'::jsonb)`)

	result, err = schema.Install(t.Context(), d.conn)
	require.NoError(t, err)
	require.False(t, result.Changed())
	require.Equal(t, []string{`("{""n"": 1}")`}, d.text("SELECT message FROM pgmq.q_q"))

	info, err := schema.Inspect(t.Context(), d.conn)
	require.NoError(t, err)
	require.Equal(t, schema.Ours, info.Kind)
	require.Equal(t, fmt.Sprint(schema.Version), info.Version)
}

func TestConcurrentInstallsAreOne(t *testing.T) {
	t.Parallel()
	d := empty(t)
	conns := make([]*pgx.Conn, 8)
	for i := range conns {
		conns[i] = d.connect()
	}
	results := make([]schema.Result, len(conns))
	var group errgroup.Group
	for i, conn := range conns {
		group.Go(func() (err error) {
			results[i], err = schema.Install(t.Context(), conn)
			return err
		})
	}
	require.NoError(t, group.Wait())
	changed := 0
	for _, result := range results {
		if result.Changed() {
			changed++
		}
	}
	require.Equal(t, 1, changed)
}

func TestForeignSchemaIsRefusedAndUntouched(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"from SQL":        "CREATE SCHEMA pgmq; CREATE TABLE pgmq.meta (queue_name varchar)",
		"empty":           "CREATE SCHEMA pgmq",
		"another comment": "CREATE SCHEMA pgmq; COMMENT ON SCHEMA pgmq IS 'not stephost pgmq-compatible schema v1'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := empty(t)
			d.exec(sql)
			before := d.text("SELECT count(*) FROM pg_class")
			_, err := schema.Install(t.Context(), d.conn)
			var foreign *schema.ForeignSchemaError
			require.ErrorAs(t, err, &foreign)
			require.Equal(t, schema.Foreign, foreign.Info.Kind)
			require.ErrorContains(t, err, "RENAME TO")
			require.Equal(t, before, d.text("SELECT count(*) FROM pg_class"))
		})
	}
}

func TestExtensionIsRefused(t *testing.T) {
	t.Parallel()
	d := empty(t)
	// The catalog says the same as after CREATE EXTENSION pgmq, whose files are
	// not on every machine.
	d.exec(`CREATE SCHEMA pgmq; COMMENT ON SCHEMA pgmq IS 'stephost pgmq-compatible schema v1';
		INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
		VALUES (99999, 'pgmq', 10, 'pgmq'::regnamespace, false, '1.5.1')`)
	_, err := schema.Install(t.Context(), d.conn)
	var foreign *schema.ForeignSchemaError
	require.ErrorAs(t, err, &foreign)
	require.Equal(t, schema.Extension, foreign.Info.Kind)
	require.ErrorContains(t, err, "extension pgmq 1.5.1")
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	d := empty(t)
	d.exec("CREATE SCHEMA pgmq; COMMENT ON SCHEMA pgmq IS 'stephost pgmq-compatible schema v99'")
	_, err := schema.Install(t.Context(), d.conn)
	var newer *schema.NewerSchemaError
	require.ErrorAs(t, err, &newer)
	require.Equal(t, 99, newer.Installed)
}

func TestMissingPrivilegeNamesTheGrant(t *testing.T) {
	t.Parallel()
	d := empty(t)
	role := "weak_" + d.conn.Config().Database
	d.exec("CREATE ROLE " + role + " LOGIN")
	config, err := pgx.ParseConfig(d.dsn)
	require.NoError(t, err)
	config.User = role
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close(t.Context()))
	})
	_, err = schema.Install(t.Context(), conn)
	var missing *schema.PrivilegeError
	require.ErrorAs(t, err, &missing)
	grant := fmt.Sprintf("GRANT CREATE ON DATABASE %q TO %q", config.Database, role)
	require.ErrorContains(t, err, grant)

	d.exec(grant)
	_, err = schema.Install(t.Context(), conn)
	require.NoError(t, err, "the advice helps")
	_, err = conn.Exec(t.Context(), "SELECT pgmq.create('q')")
	require.NoError(t, err)
}

func TestInspectOfAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	info, err := schema.Inspect(t.Context(), empty(t).conn)
	require.NoError(t, err)
	require.Equal(t, schema.Info{Kind: schema.None}, info)
}
