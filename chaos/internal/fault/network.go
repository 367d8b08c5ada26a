package fault

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/chaos/internal/netfault"
	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/internal/wait"
)

// network are the faults between host and database.
func network() []Fault {
	cut, hole, mute, deaf, slow := &line{}, &line{}, &line{}, &line{}, &line{}
	return []Fault{{
		Name:  "network-cut",
		About: "the network of one of two hosts holds everything back for longer than the lease, and delivers it then",
		Shape: func(o *world.Options) {
			o.Hosts = 2
			o.Via = cut.via
			o.Mix = manyInFlight
		},
		Inject: cut.cut,
		Cost:   Cost{Again: Must},
	}, {
		Name:   "network-black-hole",
		About:  "everything between host and database is dropped for longer than the lease, sockets open",
		Shape:  func(o *world.Options) { o.Via = hole.via },
		Inject: hole.blackHole,
		Cost:   Cost{Again: May},
	}, {
		Name:   "settlement-lost",
		About:  "settlements never arrive at the database, again and again",
		Shape:  func(o *world.Options) { o.Via, o.Mix = mute.via, retrying },
		Inject: mute.loseSettlements,
	}, {
		Name:  "commit-reply-lost",
		About: "settlements are committed and the replies are dropped, again and again",
		Shape: func(o *world.Options) {
			o.Via = deaf.via
			o.Mix = retrying
		},
		Inject: deaf.loseReplies,
	}, {
		Name:  "network-slow",
		About: "20 ms more in each direction",
		Shape: func(o *world.Options) {
			o.Via = slow.via
			// Each step keeps its place for three round trips more.
			o.Concurrency = 150
		},
		Inject: slow.slow,
	}}
}

// line is the proxy through which the first host goes.
type line struct{ proxy *netfault.Proxy }

func (l *line) via(_ context.Context, w *world.World, host int) (world.Route, error) {
	if host > 0 {
		return world.Route{DSN: w.DSN()}, nil
	}
	var route world.Route
	var err error
	l.proxy, route, err = w.Network()
	return route, err
}

// hold lets the network be broken for a while. It is sound afterwards.
func (l *line) hold(ctx context.Context, n netfault.Network, d time.Duration) error {
	l.proxy.Set(n)
	defer l.proxy.Set(netfault.Sound())
	return wait.For(ctx, d)
}

// manyInFlight is a load of which the hosts execute many at any time, so that both hold
// leases when one of them is cut off.
func manyInFlight(id int64) ledger.Message {
	if id%3 == 0 {
		return ledger.New(id, 300)
	}
	return ledger.New(id, 2)
}

func (l *line) cut(ctx context.Context, w *world.World) (string, error) {
	// The other host may have taken all there is.
	if err := loaded(ctx, w, w.Hosts[0], 3); err != nil {
		return "", err
	}
	if err := l.hold(ctx, netfault.Cut(), w.Beyond()); err != nil {
		return "", err
	}
	stats := l.proxy.Stats()
	if stats.Held == 0 {
		return "", errors.New("nothing was held back")
	}
	return fmt.Sprintf("cut for %s, %d bytes late", w.Beyond(), stats.Held), nil
}

func (l *line) blackHole(ctx context.Context, w *world.World) (string, error) {
	if err := l.hold(ctx, netfault.BlackHole(), w.Beyond()); err != nil {
		return "", err
	}
	stats := l.proxy.Stats()
	if stats.Dropped == 0 {
		return "", errors.New("nothing was dropped")
	}
	return fmt.Sprintf("%s, %d bytes dropped", w.Beyond(), stats.Dropped), nil
}

// retrying is the steady load with messages that fail at first: their
// settlement leaves the message in the queue.
func retrying(id int64) ledger.Message {
	m := ledger.New(id, 2)
	if id%5 == 2 {
		m.Do, m.Times = ledger.Fail, 1
	}
	return m
}

var settlementFailed = regexp.MustCompile(`settlement failed and is tried again`)

// The way of the settlements alone. They are lost for less time than a lease
// lasts, so nothing need be executed again.
const settlements = "stephost settle"

func (l *line) loseReplies(ctx context.Context, w *world.World) (string, error) {
	return l.lose(ctx, w, netfault.Network{ToClient: netfault.Way{Mode: netfault.Drop}, Only: settlements})
}

func (l *line) loseSettlements(ctx context.Context, w *world.World) (string, error) {
	return l.lose(ctx, w, netfault.Network{ToServer: netfault.Way{Mode: netfault.Drop}, Only: settlements})
}

// lose breaks the network again and again. What was lost, the host must have
// noticed.
func (l *line) lose(ctx context.Context, w *world.World, n netfault.Network) (string, error) {
	rounds, err := looped(ctx, w, 200*time.Millisecond, func(int) error { return l.hold(ctx, n, 300*time.Millisecond) })
	if err != nil {
		return "", err
	}
	stats := l.proxy.Stats()
	lines, err := w.Hosts[0].LogLines(settlementFailed)
	if err == nil && (stats.Dropped == 0 || stats.Reset == 0 || lines == 0) {
		err = fmt.Errorf("%d bytes dropped, %d connections reset, %d complaints", stats.Dropped, stats.Reset, lines)
	}
	return fmt.Sprintf("%d times, %d bytes dropped", rounds, stats.Dropped), err
}

func (l *line) slow(ctx context.Context, w *world.World) (string, error) {
	way := netfault.Way{Delay: 20 * time.Millisecond}
	pace, err := during(ctx, w, func() error {
		return l.hold(ctx, netfault.Network{ToServer: way, ToClient: way}, w.Hold)
	})
	if err == nil {
		err = pace.held()
	}
	return pace.String(), err
}
