package fault

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/chaos/internal/world"
)

// number asks the database for one.
func number(ctx context.Context, w *world.World, sql string, args ...any) (n int, err error) {
	err = w.DB.QueryRow(ctx, sql, args...).Scan(&n)
	return n, err
}

// do changes something in the database, and says what when that fails.
func do(ctx context.Context, w *world.World, what, sql string) error {
	if _, err := w.DB.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// settledSoFar counts what has been settled.
func settledSoFar(ctx context.Context, w *world.World) (int, error) {
	return number(ctx, w, `SELECT (SELECT count(*) FROM pgmq.a_`+ledger.Queue+`) + (SELECT count(*) FROM pgmq.q_`+ledger.DeadQueue+`)`)
}

// pace is how much was sent and settled while something lasted.
type pace struct{ sent, settled int }

// during measures the pace while act runs.
func during(ctx context.Context, w *world.World, act func() error) (p pace, err error) {
	look := func() (now pace, err error) {
		if now.settled, err = settledSoFar(ctx, w); err == nil {
			now.sent, err = number(ctx, w, `SELECT count(*) FROM chaos.sent`)
		}
		return now, err
	}
	before, err := look()
	if err == nil {
		err = act()
	}
	if err != nil {
		return p, err
	}
	after, err := look()
	return pace{after.sent - before.sent, after.settled - before.settled}, err
}

func (p pace) String() string { return fmt.Sprintf("%d of %d settled meanwhile", p.settled, p.sent) }

// held is an error when less than nine tenths of what was sent was settled.
func (p pace) held() error {
	if p.sent == 0 || 10*p.settled < 9*p.sent {
		return fmt.Errorf("the throughput did not hold: %s", p)
	}
	return nil
}

// session is a connection that a fault holds.
type session struct{ conn *pgx.Conn }

// connect makes a connection beside the world's own.
func connect(ctx context.Context, w *world.World) (session, error) {
	config := w.DB.Config().ConnConfig
	conn, err := pgx.ConnectConfig(ctx, config)
	return session{conn}, err
}

// exec runs statements, also several.
func (s session) exec(ctx context.Context, sql string) error {
	_, err := s.conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

func (s session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = s.conn.Close(ctx)
}

// onHosts is a condition on the sessions of the hosts.
const onHosts = `backend_type = 'client backend' AND application_name LIKE 'stephost %'`

// listening chooses the LISTEN sessions of the hosts.
const listening = onHosts + ` AND application_name LIKE 'stephost listen%'`

// terminate ends the sessions that a condition chooses, but none of the driver's
// own, and counts them.
func terminate(ctx context.Context, w *world.World, which string) (int, error) {
	return number(ctx, w, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> 'chaos' AND `+which)
}
