package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

func TestQueuesAreCreatedListedPurgedAndDropped(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec("SELECT pgmq.create_non_partitioned(queue_name => 'plain')")
	d.exec("SELECT pgmq.create_unlogged('fast')")
	d.exec("SELECT pgmq.create('q')")
	require.Equal(t, []string{"(fast,f,t)", "(plain,f,f)", "(q,f,f)"}, d.text("SELECT queue_name, is_partitioned, is_unlogged FROM pgmq.list_queues()"))
	require.Equal(t, []string{"(a_fast,p)", "(q_fast,u)"}, d.text("SELECT relname, relpersistence FROM pg_class WHERE relname IN ('q_fast', 'a_fast') ORDER BY 1"))

	d.exec(`SELECT pgmq.send_batch('q', ARRAY['1', '2']::jsonb[])`)
	require.Equal(t, []string{"(2)"}, d.text("SELECT purge_queue FROM pgmq.purge_queue('q')"))
	require.Equal(t, []string{"(3)"}, d.text(`SELECT * FROM pgmq.send('q', '3'::jsonb)`), "ids go on after a purge")

	require.Equal(t, []string{"(t)"}, d.text("SELECT pgmq.drop_queue('q')"))
	require.Equal(t, []string{"(f)"}, d.text("SELECT pgmq.drop_queue(queue_name => 'q')"))
	require.Equal(t, []string{"(t)"}, d.text("SELECT pgmq.drop_queue('fast', false)"))
	require.Equal(t, []string{"(plain)"}, d.text("SELECT queue_name FROM pgmq.list_notify_insert_throttles()"))
	d.refused("pg_partman is required", "SELECT pgmq.create_partitioned('p', '1000', '10000')")
	d.exec("SELECT pgmq.detach_archive('plain')")
}

func TestQueueNames(t *testing.T) {
	t.Parallel()
	d := installed(t)
	count := d.listen("mixed")
	longest := strings.Repeat("x", 47)
	d.exec("SELECT pgmq.create($1)", longest)
	require.Len(t, d.text("SELECT * FROM pgmq.send($1, '1'::jsonb)", longest), 1)
	require.Equal(t, []string{"(t)"}, d.text("SELECT pgmq.archive($1, 1)", longest))
	require.Len(t, d.text("SELECT * FROM pgmq.metrics($1)", longest), 1)
	d.refused("too long", "SELECT pgmq.create($1)", longest+"x")
	d.refused("empty", "SELECT pgmq.create('')")
	d.refused("invalid characters", `SELECT pgmq.create('q"; DROP TABLE pgmq.meta; --')`)

	d.exec("SELECT pgmq.create('Mixed'), pgmq.create('mixed')")
	require.Equal(t, []string{"(Mixed)"}, d.text("SELECT queue_name FROM pgmq.list_queues() WHERE lower(queue_name) = 'mixed'"))
	d.exec(`SELECT pgmq.send('Mixed', '1'::jsonb)`)
	require.Equal(t, 1, count(), "a name in mixed case is announced in lower case")
	require.Equal(t, []string{"(1)"}, d.text("SELECT msg_id FROM pgmq.read('MIXED', 0, 1)"))
	require.Equal(t, []string{"(t)"}, d.text("SELECT pgmq.drop_queue('mixed')"))
}

func TestConcurrentCreateAndEnable(t *testing.T) {
	t.Parallel()
	d := installed(t)
	var group errgroup.Group
	for range 6 {
		conn := d.connect()
		group.Go(func() error {
			for n := range 15 {
				for _, sql := range []string{
					"SELECT pgmq.create($1)", "SELECT pgmq.enable_notify_insert($1, 250)",
					"SELECT pgmq.disable_notify_insert($1)", "SELECT pgmq.enable_notify_insert($1)",
				} {
					if _, err := conn.Exec(t.Context(), sql, fmt.Sprintf("same%d", n)); err != nil {
						return fmt.Errorf("%s: %w", sql, err)
					}
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.Len(t, d.text("SELECT * FROM pgmq.list_queues()"), 16)
}

func TestMonitorsMayLook(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec("SET ROLE pg_monitor")
	require.Len(t, d.text("SELECT * FROM pgmq.metrics_all()"), 1)
	d.refused("permission denied", `SELECT pgmq.send('q', '1'::jsonb)`)
}
