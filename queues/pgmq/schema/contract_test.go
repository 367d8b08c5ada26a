package schema_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

func TestTablesHaveTheContractsColumns(t *testing.T) {
	t.Parallel()
	d := installed(t)
	columns := func(table string) string {
		return strings.Join(d.text(`SELECT format('%s %s%s', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN '!' END)
			FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 ORDER BY attnum`, table), " ")
	}
	require.Equal(t, `("msg_id bigint!") ("read_ct integer!") ("enqueued_at timestamp with time zone!") `+
		`("last_read_at timestamp with time zone") ("vt timestamp with time zone!") ("message jsonb") ("headers jsonb")`, columns("pgmq.q_q"))
	require.Equal(t, `("msg_id bigint!") ("read_ct integer!") ("enqueued_at timestamp with time zone!") `+
		`("last_read_at timestamp with time zone") ("archived_at timestamp with time zone!") ("vt timestamp with time zone!") `+
		`("message jsonb") ("headers jsonb")`, columns("pgmq.a_q"))
	require.Equal(t, []string{"(q_q_vt_idx)"}, d.text("SELECT indexname FROM pg_indexes WHERE tablename = 'q_q' AND indexname LIKE '%vt%'"))
	require.Equal(t, []string{"(archived_at_idx_q)"}, d.text("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'archived%'"))
	require.Equal(t, []string{"(pgmq.q_q_msg_id_seq)"}, d.text("SELECT pg_get_serial_sequence('pgmq.q_q', 'msg_id')"))
}

// The statements are those that the clients in Go, Rust, Python, JavaScript and
// Ruby send, in their forms of call.
func TestSendInEveryShape(t *testing.T) {
	t.Parallel()
	d := installed(t)
	for _, sql := range []string{
		`SELECT * FROM pgmq.send('q', '{"n": 1}')`,
		`SELECT send AS msg_id FROM pgmq.send(queue_name => 'q'::text, msg => '{"n": 2}'::jsonb, delay => 0::integer)`,
		`SELECT * FROM pgmq.send('q', '{"n": 3}'::jsonb, '{"h": 1}'::jsonb)`,
		`SELECT * FROM pgmq.send(queue_name => 'q', msg => '{"n": 4}'::jsonb, headers => '{"h": 1}'::jsonb, delay => 0)`,
		`SELECT * FROM pgmq.send('q', '{"n": 5}'::jsonb, clock_timestamp())`,
		`SELECT * FROM pgmq.send('q', '{"n": 6}'::jsonb, '{"h": 1}'::jsonb, clock_timestamp())`,
		`SELECT * FROM pgmq.send('q', NULL::jsonb)`,
	} {
		require.Len(t, d.text(sql), 1, sql)
	}
	require.Equal(t, []string{
		`("{""n"": 1}",)`, `("{""n"": 2}",)`, `("{""n"": 3}","{""h"": 1}")`, `("{""n"": 4}","{""h"": 1}")`,
		`("{""n"": 5}",)`, `("{""n"": 6}","{""h"": 1}")`, `(,)`,
	}, d.text("SELECT message, headers FROM pgmq.read('q', 0, 10)"))

	d.exec(`SELECT pgmq.send('q', '{"later": 1}'::jsonb, 3600)`)
	d.exec(`SELECT pgmq.send('q', '{"later": 2}'::jsonb, clock_timestamp() + interval '1 hour')`)
	require.Len(t, d.text("SELECT * FROM pgmq.read('q', 0, 10)"), 7, "what is delayed is not read")
	d.refused("does not exist", `SELECT pgmq.send('none', '{}'::jsonb)`)
}

func TestSendBatchInEveryShape(t *testing.T) {
	t.Parallel()
	d := installed(t)
	for _, sql := range []string{
		`SELECT send_batch AS msg_id FROM pgmq.send_batch('q', ARRAY['{"n": 1}', '{"n": 2}']::jsonb[])`,
		`SELECT * FROM pgmq.send_batch(queue_name => 'q', msgs => ARRAY['{"n": 1}', '{"n": 2}']::jsonb[], delay => 0)`,
		`SELECT * FROM pgmq.send_batch('q', ARRAY['{"n": 1}', '{"n": 2}']::jsonb[], clock_timestamp())`,
	} {
		require.Len(t, d.text(sql), 2, sql)
	}
	for _, sql := range []string{
		`SELECT * FROM pgmq.send_batch('q', ARRAY['{"n": 1}', NULL]::jsonb[], ARRAY['{"h": 1}', NULL]::jsonb[])`,
		`SELECT * FROM pgmq.send_batch('q', ARRAY['{"n": 1}', NULL]::jsonb[], headers => ARRAY['{"h": 1}', NULL]::jsonb[], delay => 0)`,
		`SELECT * FROM pgmq.send_batch('q', ARRAY['{"n": 1}', NULL]::jsonb[], ARRAY['{"h": 1}', NULL]::jsonb[], clock_timestamp())`,
	} {
		require.Len(t, d.text(sql), 2, sql)
	}
	require.Equal(t, []string{`("{""n"": 1}",)`, `("{""n"": 2}",)`}, d.text("SELECT message, headers FROM pgmq.q_q WHERE msg_id IN (5, 6)"))
	require.Equal(t, []string{`("{""n"": 1}","{""h"": 1}")`, `(,)`}, d.text("SELECT message, headers FROM pgmq.q_q WHERE msg_id IN (7, 8)"))

	d.refused("null or empty", `SELECT pgmq.send_batch('q', NULL::jsonb[])`)
	d.refused("null or empty", `SELECT pgmq.send_batch('q', '{}'::jsonb[])`)
	d.refused("as many as", `SELECT pgmq.send_batch('q', ARRAY['1', '2']::jsonb[], ARRAY['{}']::jsonb[])`)
}

func TestReadLeasesInOrder(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec(`SELECT pgmq.send_batch('q', array_agg(to_jsonb(n))) FROM generate_series(1, 5) n`)
	const shape = `SELECT msg_id, read_ct, message, last_read_at IS NOT NULL, vt > clock_timestamp() + interval '1 minute' FROM `
	require.Equal(t, []string{"(1,1,1,t,t)", "(2,1,2,t,t)"}, d.text(shape+"pgmq.read('q', 100, 2)"))
	require.Equal(t, []string{"(4,1,4,t,t)"}, d.text(shape+"pgmq.read(queue_name => 'q', vt => 100, qty => 9, conditional => '4')"))
	require.Equal(t, []string{"(3,1,3,t,f)", "(5,1,5,t,f)"}, d.text(shape+"pgmq.read($1, $2::integer, $3::integer)", "q", 0, 9))
	require.Equal(t, []string{"(3,2,3,t,f)", "(5,2,5,t,f)"}, d.text(shape+"pgmq.read_with_poll('q', 0, 9)"))
	require.Equal(t, []string{"(3,3,3,t,t)"}, d.text(shape+"pgmq.read_with_poll(queue_name => 'q', vt => 100, qty => 1, max_poll_seconds => 1, poll_interval_ms => 10, conditional => '3')"))
	require.Empty(t, d.text("SELECT * FROM pgmq.read_with_poll('q', 0, 1, 0, 10, '3')"))
}

func TestReadWithPollWaitsForAMessage(t *testing.T) {
	t.Parallel()
	d := installed(t)
	sender := d.connect()
	var group errgroup.Group
	group.Go(func() error {
		// Not before the reader waits.
		for {
			var waiting bool
			err := sender.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())").Scan(&waiting)
			if err != nil {
				return err
			}
			if waiting {
				break
			}
		}
		_, err := sender.Exec(t.Context(), `SELECT pgmq.send('q', '1'::jsonb)`)
		return err
	})
	require.Equal(t, []string{"(1)"}, d.text("SELECT msg_id FROM pgmq.read_with_poll('q', 10, 1, 60, 10)"))
	require.NoError(t, group.Wait())
}

func TestPopDeletesWhatItReturns(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec(`SELECT pgmq.send_batch('q', array_agg(to_jsonb(n))) FROM generate_series(1, 4) n`)
	require.Equal(t, []string{"(1,0,1)"}, d.text("SELECT msg_id, read_ct, message FROM pgmq.pop('q')"))
	require.Equal(t, []string{"(2)", "(3)"}, d.text("SELECT msg_id FROM pgmq.pop(queue_name => 'q', qty => 2)"))
	d.refused("qty must not be null", "SELECT pgmq.pop('q', NULL)")
	require.Equal(t, []string{"(4)"}, d.text("SELECT msg_id FROM pgmq.q_q"))
}

func TestDeleteAndArchiveInBothShapes(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec(`SELECT pgmq.send_batch('q', array_agg(to_jsonb(n)), array_agg('{"h": 1}'::jsonb)) FROM generate_series(1, 8) n`)
	d.exec("SELECT pgmq.read('q', 0, 8)")
	require.Equal(t, []string{"(t)"}, d.text("SELECT * FROM pgmq.delete('q', 1)"))
	require.Equal(t, []string{"(f)"}, d.text("SELECT delete FROM pgmq.delete(queue_name => 'q'::text, msg_id => 1::bigint)"))
	require.Equal(t, []string{"(2)", "(3)"}, d.text("SELECT * FROM pgmq.delete('q', ARRAY[3, 2, 1]::bigint[])"))
	require.Equal(t, []string{"(4)"}, d.text("SELECT delete FROM pgmq.delete(queue_name => 'q', msg_ids => $1)", []int64{4}))
	require.Equal(t, []string{"(t)"}, d.text("SELECT archive FROM pgmq.archive('q', 5)"))
	require.Equal(t, []string{"(f)"}, d.text("SELECT * FROM pgmq.archive(queue_name => 'q', msg_id => 5)"))
	require.Equal(t, []string{"(6)", "(7)"}, d.text("SELECT archive FROM pgmq.archive('q', ARRAY[7, 6, 5]::bigint[])"))
	require.Equal(t, []string{"(8)"}, d.text("SELECT * FROM pgmq.archive(queue_name => 'q', msg_ids => ARRAY[8]::bigint[])"))
	require.Equal(t, []string{`(5,1,5,"{""h"": 1}",t)`, `(6,1,6,"{""h"": 1}",t)`, `(7,1,7,"{""h"": 1}",t)`, `(8,1,8,"{""h"": 1}",t)`},
		d.text("SELECT msg_id, read_ct, message, headers, archived_at >= last_read_at FROM pgmq.a_q ORDER BY msg_id"))
	require.Equal(t, []string{"(0)"}, d.text("SELECT count(*) FROM pgmq.q_q"))
}

func TestSetVTInEveryShape(t *testing.T) {
	t.Parallel()
	d := installed(t)
	d.exec(`SELECT pgmq.send_batch('q', ARRAY['1', '2']::jsonb[])`)
	const shape = "SELECT msg_id, vt > clock_timestamp() + interval '50 seconds' FROM "
	const minute = "clock_timestamp() + interval '1 minute'"
	require.Equal(t, []string{"(1,t)"}, d.text(shape+"pgmq.set_vt('q', 1, 60)"))
	require.Equal(t, []string{"(1,f)"}, d.text(shape+"pgmq.set_vt(queue_name => 'q', msg_id => 1, vt => 0)"))
	require.Equal(t, []string{"(1,t)"}, d.text(shape+"pgmq.set_vt('q', 1::bigint, "+minute+")"))
	require.Equal(t, []string{"(1,f)", "(2,f)"}, d.text(shape+"pgmq.set_vt('q', ARRAY[2, 1, 7]::bigint[], 0)"))
	require.Equal(t, []string{"(1,t)", "(2,t)"}, d.text(shape+"pgmq.set_vt(queue_name => 'q', msg_ids => ARRAY[2, 1]::bigint[], vt => "+minute+")"))
	require.Empty(t, d.text("SELECT * FROM pgmq.set_vt('q', 99, 1)"))
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	d := installed(t)
	const shape = "SELECT queue_name, queue_length, newest_msg_age_sec, oldest_msg_age_sec, total_messages, queue_visible_length FROM "
	require.Equal(t, []string{"(q,0,,,0,0)"}, d.text(shape+"pgmq.metrics('q')"))
	d.exec(`SELECT pgmq.send_batch('q', ARRAY['1', '2', '3']::jsonb[])`)
	d.exec("UPDATE pgmq.q_q SET enqueued_at = clock_timestamp() - interval '100.2 seconds' WHERE msg_id = 2")
	d.exec("UPDATE pgmq.q_q SET enqueued_at = clock_timestamp() - interval '10.2 seconds' WHERE msg_id = 3")
	d.exec("SELECT pgmq.delete('q', 1), pgmq.set_vt('q', 2, 100)")
	d.exec("SELECT pgmq.create('another')")
	require.Len(t, d.text(shape+"pgmq.metrics_all()"), 2)
	require.Equal(t, []string{"(2,t,t,3,1)"}, d.text(`SELECT queue_length, newest_msg_age_sec BETWEEN 10 AND 90, oldest_msg_age_sec >= 100,
		total_messages, queue_visible_length FROM pgmq.metrics(queue_name => 'q')`))
}
