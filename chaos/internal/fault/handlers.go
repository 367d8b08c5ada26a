package fault

import (
	"context"
	"fmt"
	"time"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/chaos/internal/load"
	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/internal/wait"
)

// handlers are the faults that a handler makes itself.
func handlers() []Fault {
	return []Fault{
		failing("fail-1-percent", "1 % of the handlers return an error, some of them always", ledger.Fail),
		failing("panic-1-percent", "1 % of the handlers panic, some of them always", ledger.Panic),
		failing("fail-and-panic", "1 % of the handlers return an error and 1 % panic", ledger.Fail, ledger.Panic),
		{
			Name:   "exit-handler",
			About:  "handlers that end their process, once each",
			Inject: exitHandler,
			Cost:   Cost{Again: Must},
		}, {
			Name:   "poison",
			About:  "messages that end every process which executes them, among others",
			Inject: poison,
			Cost:   Cost{Again: Must},
		}, {
			Name:  "hang-handler",
			About: "handlers that ignore their cancellation",
			Shape: func(o *world.Options) {
				o.Timeout, o.KillTimeout, o.DrainTimeout = "3s", "1s", "5s"
			},
			Inject: hangHandler,
		}, {
			Name:  "long-steps",
			About: "handlers that take longer than the lease, with a second host that would take over",
			Shape: func(o *world.Options) {
				two(o)
				o.Timeout = "5m"
			},
			Inject: longSteps,
		},
	}
}

// failing makes a fault of which each deed happens to 1 % of the messages. Most
// of these succeed at the second or third attempt, a fifth of them never.
func failing(name, about string, deeds ...ledger.Deed) Fault {
	mix := func(id int64) ledger.Message {
		m := load.Steady(id)
		for i, deed := range deeds {
			if id%100 != int64(13+i*40) {
				continue
			}
			m.Do, m.Times = deed, 1+int(id/100%2)
			if id/100%5 == 3 {
				m.Times, m.End = 100, ledger.Dead
			}
		}
		return m
	}
	return Fault{
		Name: name, About: about,
		Shape: func(o *world.Options) { o.Mix = mix },
		Inject: func(ctx context.Context, w *world.World) (string, error) {
			if err := wait.For(ctx, w.Hold); err != nil {
				return "", err
			}
			w.Over()
			var ns admin.Namespace
			err := w.Until(ctx, "a message has been retried and another one is in the dead letters", func() (_ bool, err error) {
				ns, err = namespace(ctx, w.Hosts[0])
				return ns.Retried > 0 && ns.DeadLettered > 0, err
			})
			return fmt.Sprintf("%d failed, %d dead-lettered", ns.Failed, ns.DeadLettered), err
		},
	}
}

func exitHandler(ctx context.Context, w *world.World) (string, error) {
	const exits = 3 // fewer than trip the plugin
	host := w.Hosts[0]
	for n := range exits {
		m := ledger.New(w.Load.NewID(), 50)
		m.Do, m.Times = ledger.Exit, 1
		if err := send(ctx, w, m); err != nil {
			return "", err
		}
		if err := settled(ctx, w, m); err != nil {
			return "", err
		}
		w.Over()
		if _, err := restored(ctx, w, host, n+1); err != nil {
			return "", err
		}
		if err := wait.For(ctx, w.Hold/exits); err != nil {
			return "", err
		}
	}
	plugin, err := host.Plugin(ctx)
	return fmt.Sprintf("%d messages ended their process, %d crashes", exits, plugin.Crashes), err
}

func poison(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	messages := make([]ledger.Message, 2)
	for i := range messages {
		messages[i] = ledger.New(w.Load.NewID(), 50)
		messages[i].Do, messages[i].End = ledger.Poison, ledger.Dead
	}
	if err := send(ctx, w, messages...); err != nil {
		return "", err
	}
	if err := settled(ctx, w, messages...); err != nil {
		return "", err
	}
	w.Over()
	var convicted int
	err := w.DB.QueryRow(ctx, `SELECT count(*) FROM pgmq.q_`+ledger.DeadQueue+` WHERE headers->'stephost'->'dead'->>'reason' = 'crashes'`).Scan(&convicted)
	if err == nil && convicted != len(messages) {
		err = fmt.Errorf("%d messages are dead-lettered for their crashes, not %d", convicted, len(messages))
	}
	if err != nil {
		return "", err
	}
	plugin, err := host.Plugin(ctx)
	return fmt.Sprintf("%d of %d dead-lettered for their crashes, %d crashes", convicted, len(messages), plugin.Crashes), err
}

func hangHandler(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	var messages []ledger.Message
	for range 3 {
		m := ledger.New(w.Load.NewID(), 50)
		// Longer than anybody waits: only a kill ends it.
		m.Do, m.Times, m.Stubborn = ledger.Hang, 1, 3_600_000
		messages = append(messages, m)
		if err := send(ctx, w, m); err != nil {
			return "", err
		}
		if err := wait.For(ctx, w.Hold/3); err != nil {
			return "", err
		}
	}
	if err := settled(ctx, w, messages...); err != nil {
		return "", err
	}
	w.Over()
	plugin, err := pluginUntil(ctx, w, host, "hanging processes were replaced", func(p admin.Plugin) bool {
		return p.Hangs > 0 && len(p.Replaced) == 0 && p.Ready == w.Instances
	})
	return fmt.Sprintf("%d handlers hung, %d processes replaced", len(messages), plugin.Hangs), err
}

func longSteps(ctx context.Context, w *world.World) (string, error) {
	messages := make([]ledger.Message, 20)
	// Another host looks for what has expired every few seconds.
	long := w.Lease + max(w.Lease/2, 5*time.Second)
	for i := range messages {
		messages[i] = ledger.New(w.Load.NewID(), int(long.Milliseconds()))
	}
	if err := send(ctx, w, messages...); err != nil {
		return "", err
	}
	err := settled(ctx, w, messages...)
	w.Over()
	return fmt.Sprintf("%d steps of %s under leases of %s", len(messages), long, w.Lease), err
}
