package fault

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/internal/devpg"
	"github.com/stephost/stephost/internal/wait"
)

// poolers are the faults of a PgBouncer in transaction mode between the hosts
// and the database, without any setting in the DSN.
func poolers() []Fault {
	beside, alone := &bouncer{listenBeside: true}, &bouncer{}
	return []Fault{{
		Name:   "pgbouncer-listen-beside",
		About:  "PgBouncer in transaction mode, listen_dsn beside it; the pooler is killed and restarted",
		Shape:  beside.shape,
		Inject: beside.kill,
		Cost:   Cost{Again: May},
	}, {
		Name:   "pgbouncer-alone",
		About:  "PgBouncer in transaction mode without listen_dsn: LISTEN is swallowed; the pooler is killed and restarted",
		Shape:  alone.shape,
		Inject: alone.kill,
		Cost:   Cost{Again: May},
	}}
}

// bouncer is the pooler through which all hosts go.
type bouncer struct {
	listenBeside bool
	pooler       *devpg.Pooler
}

// shape has two hosts share fewer sessions than they have connections.
func (b *bouncer) shape(o *world.Options) {
	o.Hosts = 2
	o.Via = b.via
}

const poolerSessions = 6

func (b *bouncer) via(ctx context.Context, w *world.World, _ int) (world.Route, error) {
	if b.pooler == nil {
		pooler, err := w.Postgres.StartPooler(ctx, devpg.PoolerOptions{Connections: poolerSessions})
		if errors.Is(err, devpg.ErrNoPooler) {
			return world.Route{}, &UnavailableError{Reason: err.Error()}
		}
		if err != nil {
			return world.Route{}, err
		}
		b.pooler = pooler
		w.AtStop(func() { _ = pooler.Stop() })
	}
	route := world.Route{DSN: b.pooler.DSN("postgres")}
	if b.listenBeside {
		route.Listen = w.DSN()
	}
	return route, nil
}

var (
	noticedPooler  = regexp.MustCompile(`a pooler stands between here and the server`)
	noticedSwallow = regexp.MustCompile(`a pooler swallows notifications: let listen_dsn lead to the server itself`)
)

func (b *bouncer) kill(ctx context.Context, w *world.World) (string, error) {
	for _, h := range w.Hosts {
		if err := b.noticed(ctx, w, h); err != nil {
			return "", err
		}
	}
	pace, err := during(ctx, w, func() error { return wait.For(ctx, w.Hold/2) })
	if err != nil {
		return "", err
	}
	sessions, err := number(ctx, w, `SELECT count(*) FROM pg_stat_activity WHERE application_name NOT LIKE 'stephost listen%' AND `+onHosts)
	if err != nil {
		return "", err
	}
	if sessions > poolerSessions {
		return "", fmt.Errorf("the hosts have %d sessions: they do not go through the pooler", sessions)
	}
	if err := b.pooler.Restart(ctx); err != nil {
		return "", err
	}
	w.Over()
	return fmt.Sprintf("%s, %d sessions", pace, sessions), pace.held()
}

// noticed waits until a host has said what stands in its way.
func (b *bouncer) noticed(ctx context.Context, w *world.World, h *world.Host) error {
	return w.Until(ctx, "the host says that there is a pooler", func() (bool, error) {
		pooled, err := h.LogLines(noticedPooler)
		if err != nil || pooled == 0 || b.listenBeside {
			return pooled > 0, err
		}
		swallowed, err := h.LogLines(noticedSwallow)
		return swallowed > 0, err
	})
}
