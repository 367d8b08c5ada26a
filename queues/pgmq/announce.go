package pgmq

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// family says how messages that this broker writes are announced.
type family struct {
	// tasker: on tasker's channels. Otherwise pgmq's trigger does it.
	tasker bool
	// send is tasker's send function, quoted, or empty where it is not
	// installed; then this broker notifies in its stead.
	send string
}

// announcer finds out the family and remembers it.
type announcer struct {
	mu       sync.Mutex
	resolved bool
	family   family
}

func (a *announcer) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resolved = false
}

// known is the family as it was last found out.
func (a *announcer) known() family {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.family
}

func (a *announcer) current(ctx context.Context, b *Broker) (family, error) {
	a.mu.Lock()
	resolved, f := a.resolved, a.family
	a.mu.Unlock()
	if resolved {
		return f, nil
	}
	if err := a.resolve(ctx, b); err != nil {
		return family{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.family, nil
}

// taskerSendSQL finds tasker's send function, in whichever schema it is, and
// whether it runs with its owner's rights.
const taskerSendSQL = `
	SELECT n.nspname::text, p.proname::text, p.oid::bigint, n.oid::bigint, p.prosecdef
	FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
	WHERE p.proname = 'pgmq_send_with_notify' AND p.pronargs = 3
	  AND p.proargtypes[0] = 'text'::regtype AND p.proargtypes[1] = 'jsonb'::regtype AND p.proargtypes[2] = 'int'::regtype
	ORDER BY n.nspname = 'tasker' DESC, n.nspname = 'public' DESC, n.nspname LIMIT 1`

// resolve looks for tasker's send function.
func (a *announcer) resolve(ctx context.Context, b *Broker) error {
	var f family
	if b.opts.Notifications != NotifyPGMQ {
		rows, err := b.work.Query(ctx, taskerSendSQL)
		if err != nil {
			return fmt.Errorf("look for tasker's send function: %w", err)
		}
		var schema, name string
		_, err = pgx.ForEachRow(rows, []any{&schema, &name, nil, nil, nil}, func() error {
			f.send = pgx.Identifier{schema, name}.Sanitize()
			return nil
		})
		if err != nil {
			return fmt.Errorf("look for tasker's send function: %w", err)
		}
		f.tasker = f.send != "" || b.opts.Notifications == NotifyTasker
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resolved, a.family = true, f
	return nil
}

// taskerChannels are the two channels on which tasker announces a message.
func taskerChannels(namespace string) (global, own string) {
	return "pgmq_message_ready", "pgmq_message_ready." + namespace
}

// taskerNotice is an SQL expression that announces one message as tasker does.
func taskerNotice(l *layout, namespace, id, delay string) string {
	payload := `jsonb_build_object('event_type', 'message_ready', 'msg_id', ` + id + `, 'queue_name', ` + quote(l.queue) + `, 'namespace', ` + quote(namespace) + `,
		'ready_at', statement_timestamp(), 'delay_seconds', ceil(` + delay + `)::int, 'metadata', '{}'::jsonb)::text`
	global, own := taskerChannels(namespace)
	calls := make([]string, 0, 2)
	for _, channel := range []string{global, own} {
		if len(channel) <= maxChannel {
			calls = append(calls, `pg_notify(`+quote(channel)+`, `+payload+`)`)
		}
	}
	return strings.Join(calls, ", ")
}

// releaseNotice is the arm that announces released messages, once: an UPDATE
// fires no trigger, and the message is there for any host to take.
func releaseNotice(l *layout, f family, namespace string) string {
	if f.tasker {
		return `notice AS MATERIALIZED (
	SELECT ` + taskerNotice(l, namespace, "r.msg_id", "0") + ` FROM (SELECT min(msg_id) AS msg_id FROM done HAVING count(*) > 0) r)`
	}
	channel := insertChannel(l.key)
	if len(channel) > maxChannel {
		return `notice AS (SELECT 1)`
	}
	return `notice AS MATERIALIZED (
	SELECT pg_notify(` + quote(channel) + `, '') FROM (SELECT 1 FROM done LIMIT 1) r)`
}

// maxChannel is how long a channel's name can be, in bytes.
const maxChannel = 63

const insertPrefix = "pgmq.q_"

// insertChannel is pgmq's own channel of a queue.
func insertChannel(table string) string { return insertPrefix + table + ".INSERT" }
