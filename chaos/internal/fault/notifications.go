package fault

import (
	"context"
	"errors"
	"fmt"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/internal/wait"
)

// notifications are the faults of what tells of new messages.
func notifications() []Fault {
	return []Fault{{
		Name:   "notifications-disabled",
		About:  "the triggers that notify are disabled",
		Inject: disableNotifications,
	}, {
		Name:  "notifications-malformed",
		About: "a flood of notifications that make no sense, in place of the right ones",
		Shape: func(o *world.Options) {
			o.QueueExtra = `notifications = "tasker"`
			o.Via = announceAsTasker
		},
		Inject: malformNotifications,
	}}
}

func disableNotifications(ctx context.Context, w *world.World) (string, error) {
	if err := do(ctx, w, "disable the trigger", `ALTER TABLE pgmq.q_`+ledger.Queue+` DISABLE TRIGGER USER`); err != nil {
		return "", err
	}
	before, err := w.Hosts[0].Status(ctx)
	if err != nil {
		return "", err
	}
	pace, err := during(ctx, w, func() error { return wait.For(ctx, w.Hold) })
	if err != nil {
		return "", err
	}
	after, err := w.Hosts[0].Status(ctx)
	if err != nil {
		return "", err
	}
	// One may have been under way.
	if n := after.Listener.Notifications - before.Listener.Notifications; n > 1 {
		return "", fmt.Errorf("%d notifications came", n)
	}
	err = do(ctx, w, "enable the trigger", `ALTER TABLE pgmq.q_`+ledger.Queue+` ENABLE TRIGGER USER`)
	return pace.String() + " without one", errors.Join(err, pace.held())
}

// The channels and a payload of tasker-core, as its producers announce a
// message. A trigger does it here for whoever sends.
const (
	taskerTrigger = `
CREATE OR REPLACE FUNCTION chaos.announce() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	payload text := jsonb_build_object('event_type', 'message_ready', 'msg_id', NEW.msg_id, 'queue_name', '` + ledger.Queue + `', 'namespace', '` + ledger.Namespace + `')::text;
BEGIN
	PERFORM pg_notify('pgmq_message_ready', payload), pg_notify('pgmq_message_ready.` + ledger.Namespace + `', payload);
	RETURN NULL;
END $$`
	// Twenty for each message, each of them another one: nothing may merge them.
	malformedTrigger = `
CREATE OR REPLACE FUNCTION chaos.announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify(channel, payload || CASE WHEN n > 1 THEN repeat('x', n) || NEW.msg_id ELSE '' END)
	FROM unnest(ARRAY['pgmq_message_ready', 'pgmq_message_ready.` + ledger.Namespace + `', 'pgmq_queue_created']) channel,
	     unnest(ARRAY['', '{', 'null', '[]', '{"event_type": "message_ready"}', '{"event_type": 7, "queue_name": "` + ledger.Queue + `"}',
	         '{"event_type": "step_lost", "queue_name": "` + ledger.Queue + `", "msg_id": 1}']) payload,
	     generate_series(1, 2) n;
	RETURN NULL;
END $$`
)

// announceAsTasker lays the direct way, with the trigger in place.
func announceAsTasker(ctx context.Context, w *world.World, _ int) (world.Route, error) {
	for _, sql := range []string{
		taskerTrigger,
		`DROP TRIGGER IF EXISTS chaos_announce ON pgmq.q_` + ledger.Queue,
		`CREATE TRIGGER chaos_announce AFTER INSERT ON pgmq.q_` + ledger.Queue + ` FOR EACH ROW EXECUTE FUNCTION chaos.announce()`,
	} {
		if err := do(ctx, w, "make the trigger", sql); err != nil {
			return world.Route{}, err
		}
	}
	return world.Route{DSN: w.DSN()}, nil
}

func malformNotifications(ctx context.Context, w *world.World) (string, error) {
	before, err := w.Hosts[0].Status(ctx)
	if err != nil {
		return "", err
	}
	if before.Listener.Notifications == 0 || before.Listener.Malformed > 0 {
		return "", errors.New("the right notifications did not come before")
	}
	if err := do(ctx, w, "make notifications malformed", malformedTrigger); err != nil {
		return "", err
	}
	if err := wait.For(ctx, w.Hold); err != nil {
		return "", err
	}
	if err := do(ctx, w, "make notifications well formed", taskerTrigger); err != nil {
		return "", err
	}
	w.Over()
	after, err := w.Hosts[0].Status(ctx)
	if err == nil && after.Listener.Malformed == 0 {
		err = errors.New("the host met no malformed notification")
	}
	return fmt.Sprintf("%d malformed", after.Listener.Malformed), err
}
