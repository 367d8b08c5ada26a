package fault

import (
	"context"
	"fmt"
	"slices"
	"syscall"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/chaos/internal/load"
	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/internal/wait"
)

// two makes a world of two hosts.
func two(o *world.Options) { o.Hosts = 2 }

// hosts are the faults of whole hosts.
func hosts() []Fault {
	return []Fault{{
		Name:   "kill-host",
		About:  "kill -9 of a host, and another one takes over what it had",
		Shape:  two,
		Inject: killHost,
		Cost:   Cost{Again: Must},
	}, {
		Name:   "kill-host-and-plugin",
		About:  "kill -9 of a host, its plugin processes and their shims at the same instant",
		Shape:  two,
		Inject: killHostAndPlugin,
		Cost:   Cost{Again: Must},
	}, {
		Name:   "term-host",
		About:  "SIGTERM of the only host, and a new start",
		Inject: termHost,
	}, {
		Name:   "rolling-restart",
		About:  "three hosts are restarted one after the other",
		Shape:  func(o *world.Options) { o.Hosts = 3 },
		Inject: rollingRestart,
	}, {
		Name:  "kill-draining-host",
		About: "kill -9 of a host that waits for its handlers after SIGTERM",
		Shape: func(o *world.Options) {
			two(o)
			o.Mix = someSlow
		},
		Inject: killDrainingHost,
		Cost:   Cost{Again: Must},
	}, {
		Name:  "drain-timeout",
		About: "SIGTERM of a host whose handlers take longer than its drain_timeout",
		Shape: func(o *world.Options) {
			two(o)
			o.DrainTimeout, o.KillTimeout, o.Mix = "500ms", "2s", someSlow
		},
		Inject: drainTimeout,
		Cost:   Cost{Again: Must},
	}, {
		Name:   "freeze-host",
		About:  "SIGSTOP of a host with its plugins for longer than its leases, then SIGCONT: the zombie",
		Shape:  two,
		Inject: func(ctx context.Context, w *world.World) (string, error) { return freezeHost(ctx, w, true) },
		Cost:   Cost{Again: Must, Late: true},
	}, {
		Name:   "freeze-host-alone",
		About:  "the same without its plugins, which finish what they have meanwhile",
		Shape:  two,
		Inject: func(ctx context.Context, w *world.World) (string, error) { return freezeHost(ctx, w, false) },
		Cost:   Cost{Again: Must, Late: true},
	}}
}

// someSlow has a step of three seconds in each hundred.
func someSlow(id int64) ledger.Message {
	if id%100 == 50 {
		return ledger.New(id, 3000)
	}
	return load.Steady(id)
}

// loaded waits until a host has steps in flight.
func loaded(ctx context.Context, w *world.World, h *world.Host, least int) error {
	return w.Until(ctx, fmt.Sprintf("host %d has %d steps in flight", h.Index, least), func() (bool, error) {
		ns, err := namespace(ctx, h)
		return ns.InFlight >= least, err
	})
}

func killHost(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	plugins, err := host.PluginPIDs(ctx)
	if err != nil {
		return "", err
	}
	if err := loaded(ctx, w, host, 2); err != nil {
		return "", err
	}
	if err := host.Kill(ctx); err != nil {
		return "", err
	}
	w.Over()
	if err := w.Until(ctx, "the plugin's processes are gone with their host", func() (bool, error) {
		return !slices.ContainsFunc(plugins, func(pid int) bool { return !gone(pid) }), nil
	}); err != nil {
		return "", err
	}
	return fmt.Sprintf("1 host killed, its %d plugin processes ended with it", len(plugins)), wait.For(ctx, w.Beyond())
}

func killHostAndPlugin(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	tree, err := world.Tree(host.PID())
	if err != nil {
		return "", err
	}
	if len(tree) < 1+2*w.Instances {
		return "", fmt.Errorf("host 0 has only %d processes", len(tree))
	}
	if err := loaded(ctx, w, host, 2); err != nil {
		return "", err
	}
	// The plugin first, so that the host may still see it die.
	slices.Reverse(tree)
	if err := signal(syscall.SIGKILL, tree...); err != nil {
		return "", err
	}
	if _, err := host.Wait(ctx); err != nil {
		return "", err
	}
	w.Over()
	if err := wait.For(ctx, w.Beyond()); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d processes killed at once, host started again", len(tree)), host.Start(ctx)
}

func termHost(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	if err := loaded(ctx, w, host, 2); err != nil {
		return "", err
	}
	if err := host.Terminate(ctx); err != nil {
		return "", err
	}
	w.Over()
	return "exit code 0, started again", host.Start(ctx)
}

func rollingRestart(ctx context.Context, w *world.World) (string, error) {
	for _, h := range w.Hosts {
		if err := h.Terminate(ctx); err != nil {
			return "", err
		}
		w.Over()
		if err := h.Start(ctx); err != nil {
			return "", err
		}
		if err := wait.For(ctx, w.Hold/6); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d hosts restarted with exit code 0", len(w.Hosts)), nil
}

func killDrainingHost(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	if err := loaded(ctx, w, host, 3); err != nil {
		return "", err
	}
	if err := host.Signal(syscall.SIGTERM); err != nil {
		return "", err
	}
	if err := w.Until(ctx, "host 0 drains", func() (bool, error) {
		status, err := host.Status(ctx)
		return status.Host.Draining, err
	}); err != nil {
		return "", err
	}
	ns, err := namespace(ctx, host)
	if err != nil {
		return "", err
	}
	if err := host.Kill(ctx); err != nil {
		return "", err
	}
	w.Over()
	if code, err := host.Wait(ctx); err != nil || code != -1 {
		return "", fmt.Errorf("host 0 was not killed but exited with %d: %w", code, err)
	}
	if err := wait.For(ctx, w.Beyond()); err != nil {
		return "", err
	}
	return fmt.Sprintf("killed with %d steps in flight", ns.InFlight), nil
}

func drainTimeout(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	if err := loaded(ctx, w, host, 4); err != nil {
		return "", err
	}
	if err := host.Terminate(ctx); err != nil {
		return "", err
	}
	w.Over()
	return "exit code 0 with handlers cancelled, started again", host.Start(ctx)
}

// freezeHost stops a host, with the processes below it or without, until its
// leases have expired and another host has what it had.
func freezeHost(ctx context.Context, w *world.World, whole bool) (string, error) {
	host := w.Hosts[0]
	tree := []int{host.PID()}
	if whole {
		var err error
		if tree, err = world.Tree(host.PID()); err != nil {
			return "", err
		}
	}
	if err := loaded(ctx, w, host, 2); err != nil {
		return "", err
	}
	if err := signal(syscall.SIGSTOP, tree...); err != nil {
		return "", err
	}
	asleep := wait.For(ctx, w.Beyond())
	// Whatever happened: a process that is stopped cannot be ended in order.
	if err := signal(syscall.SIGCONT, tree...); err != nil {
		return "", err
	}
	w.Over()
	if asleep != nil {
		return "", asleep
	}
	lost := uint64(0)
	err := w.Until(ctx, "the host has noticed that leases were lost", func() (bool, error) {
		ns, err := namespace(ctx, host)
		lost = ns.LeaseLost
		return lost > 0, err
	})
	return fmt.Sprintf("%d processes frozen for %s, %d leases lost", len(tree), w.Beyond(), lost), err
}
