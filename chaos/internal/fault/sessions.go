package fault

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/internal/wait"
)

// sessions are the faults of the connections to PostgreSQL, from its side.
func sessions() []Fault {
	return []Fault{{
		Name:   "backends-terminated",
		About:  "all sessions of PostgreSQL terminated every second, those of the load too",
		Inject: terminateBackends,
		Cost:   Cost{Again: May},
	}, {
		Name:   "listen-terminated",
		About:  "the LISTEN session terminated again and again",
		Inject: terminateListen,
	}, {
		Name:  "connections-exhausted",
		About: "every connection of PostgreSQL taken by others for longer than the lease",
		Shape: func(o *world.Options) {
			o.Server = map[string]string{"max_connections": "40", "superuser_reserved_connections": "0"}
		},
		Inject: exhaustConnections,
		Cost:   Cost{Again: May},
	}, {
		Name:   "low-timeouts",
		About:  "statement_timeout, idle_session_timeout and idle_in_transaction_session_timeout set far too low",
		Inject: lowerTimeouts,
		Cost:   Cost{Again: May},
	}}
}

func terminateBackends(ctx context.Context, w *world.World) (string, error) {
	total := 0
	rounds, err := looped(ctx, w, time.Second, func(int) error {
		n, err := terminate(ctx, w, `backend_type = 'client backend'`)
		total += n
		if err == nil && n == 0 {
			err = errors.New("there was no session")
		}
		return err
	})
	return fmt.Sprintf("%d sessions in %d rounds", total, rounds), err
}

func terminateListen(ctx context.Context, w *world.World) (string, error) {
	before, err := w.Hosts[0].Status(ctx)
	if err != nil {
		return "", err
	}
	total := 0
	_, err = looped(ctx, w, w.Hold/8, func(int) error {
		n, err := terminate(ctx, w, listening)
		total += n
		return err
	})
	if err != nil {
		return "", err
	}
	err = w.Until(ctx, "the host listens again", func() (bool, error) {
		now, err := w.Hosts[0].Status(ctx)
		return now.Listener.Connected && now.Listener.Reconnects > before.Listener.Reconnects, err
	})
	if err == nil && total < 2 {
		err = fmt.Errorf("%d sessions were terminated", total)
	}
	return fmt.Sprintf("%d LISTEN sessions", total), err
}

var tooManyClients = regexp.MustCompile(`SQLSTATE 53300`)

// exhaustConnections takes what is left, and then what the hosts lose.
func exhaustConnections(ctx context.Context, w *world.World) (string, error) {
	killer, err := connect(ctx, w)
	if err != nil {
		return "", err
	}
	defer killer.close()
	var taken []session
	defer func() {
		for _, s := range taken {
			s.close()
		}
	}()
	// A freed slot is taken within a millisecond or two, so a host gets one now
	// and then; it loses it in the next round.
	rounds, end := 0, time.Now().Add(w.Beyond())
	for time.Now().Before(end) && ctx.Err() == nil {
		s, err := connect(ctx, w)
		if err == nil {
			taken = append(taken, s)
			continue
		}
		if !strings.Contains(err.Error(), "53300") {
			return "", err
		}
		rounds++
		if err := killer.exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE `+onHosts); err != nil {
			return "", err
		}
		if err := wait.For(ctx, 20*time.Millisecond); err != nil {
			return "", err
		}
	}
	lines, err := w.Hosts[0].LogLines(tooManyClients)
	if err == nil && lines == 0 {
		err = errors.New("the host was never refused a connection")
	}
	return fmt.Sprintf("%d connections taken", len(taken)), err
}

// lowerTimeouts sets them for everybody who does not set them. Every now and
// then a lock has the hosts' statements run into theirs.
func lowerTimeouts(ctx context.Context, w *world.World) (string, error) {
	locker, err := connect(ctx, w)
	if err != nil {
		return "", err
	}
	defer locker.close()
	err = locker.exec(ctx, `SET statement_timeout = 0; SET idle_session_timeout = 0; SET idle_in_transaction_session_timeout = 0`)
	if err != nil {
		return "", err
	}
	for _, set := range []string{
		`ALTER SYSTEM SET statement_timeout = '150ms'`,
		`ALTER SYSTEM SET idle_session_timeout = '300ms'`,
		`ALTER SYSTEM SET idle_in_transaction_session_timeout = '100ms'`,
		`SELECT pg_reload_conf()`,
	} {
		if err := locker.exec(ctx, set); err != nil {
			return "", err
		}
	}
	// A session that is idle takes a new setting with its next statement. LISTEN
	// has none for half a minute.
	if _, err := terminate(ctx, w, listening); err != nil {
		return "", err
	}
	_, err = looped(ctx, w, time.Second, func(int) error {
		return locker.exec(ctx, `BEGIN; LOCK TABLE pgmq.q_`+ledger.Queue+` IN EXCLUSIVE MODE; SELECT pg_sleep(0.4); COMMIT`)
	})
	if err != nil {
		return "", err
	}
	for _, set := range []string{`ALTER SYSTEM RESET ALL`, `SELECT pg_reload_conf()`} {
		if err := locker.exec(ctx, set); err != nil {
			return "", err
		}
	}
	w.Over()
	w.DB.Reset()
	said := w.Postgres.LogTail(1000)
	cancelled, idle := strings.Count(said, "due to statement timeout"), strings.Count(said, "due to idle-session timeout")
	if cancelled == 0 || idle == 0 {
		err = errors.New("no statement or no session ran into a timeout")
	}
	return fmt.Sprintf("%d statements and %d sessions ended", cancelled, idle), err
}
