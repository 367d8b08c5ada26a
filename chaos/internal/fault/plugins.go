package fault

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/internal/wait"
)

// plugins are the faults that happen to a plugin's processes from outside.
func plugins() []Fault {
	return []Fault{{
		Name:   "kill-plugin",
		About:  "kill -9 of the plugin's processes, one after the other",
		Inject: killPlugin,
		Cost:   Cost{Again: Must},
	}, {
		Name:   "kill-shim",
		About:  "kill -9 of the shims that lead the plugin's process groups, as the kernel does when memory is out",
		Inject: killShim,
		Cost:   Cost{Again: Must},
	}, {
		Name:   "freeze-plugin",
		About:  "SIGSTOP of all the plugin's processes for longer than the lease, then SIGCONT",
		Inject: freezePlugin,
		Cost:   Cost{Again: May},
	}, {
		Name:   "wedge-plugin",
		About:  "SIGSTOP of all the plugin's processes and no SIGCONT: only the health check finds them",
		Inject: wedgePlugin,
		Cost:   Cost{Again: Must},
	}, {
		Name:   "swap-loop",
		About:  "a new version of the plugin takes over again and again",
		Inject: swapLoop,
	}}
}

func killPlugin(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	pids, err := host.PluginPIDs(ctx)
	if err != nil {
		return "", err
	}
	for _, pid := range pids {
		if err := busy(ctx, w, host, pid); err != nil {
			return "", err
		}
		if err := signal(syscall.SIGKILL, pid); err != nil {
			return "", err
		}
		w.Over()
		if err := wait.For(ctx, w.Hold/4); err != nil {
			return "", err
		}
	}
	plugin, err := restored(ctx, w, host, len(pids))
	return fmt.Sprintf("%d crashes, %d restarts", plugin.Crashes, plugin.Restarts), err
}

// busy waits until a process of the plugin has steps in flight, so that its end
// costs something.
func busy(ctx context.Context, w *world.World, host *world.Host, pid int) error {
	_, err := pluginUntil(ctx, w, host, fmt.Sprintf("process %d has steps", pid), func(p admin.Plugin) bool {
		for _, i := range p.Instances {
			if i.PID == pid && i.InFlight > 1 {
				return true
			}
		}
		return false
	})
	return err
}

func killShim(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	pids, err := host.PluginPIDs(ctx)
	if err != nil {
		return "", err
	}
	for _, pid := range pids {
		shim, err := world.Parent(pid)
		if err != nil {
			return "", err
		}
		if shim == host.PID() {
			return "", fmt.Errorf("process %d of the plugin has no shim", pid)
		}
		if err := busy(ctx, w, host, pid); err != nil {
			return "", err
		}
		if err := signal(syscall.SIGKILL, shim); err != nil {
			return "", err
		}
		w.Over()
		if err := w.Until(ctx, fmt.Sprintf("process %d is gone with its shim", pid), func() (bool, error) { return gone(pid), nil }); err != nil {
			return "", err
		}
		if err := wait.For(ctx, w.Hold/4); err != nil {
			return "", err
		}
	}
	plugin, err := restored(ctx, w, host, len(pids))
	return fmt.Sprintf("%d shims killed, %d crashes", len(pids), plugin.Crashes), err
}

// stopPlugins stops all the plugin's processes while they have steps, and sees
// that nothing is settled any more.
func stopPlugins(ctx context.Context, w *world.World) ([]int, error) {
	host := w.Hosts[0]
	pids, err := host.PluginPIDs(ctx)
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		if err := busy(ctx, w, host, pid); err != nil {
			return nil, err
		}
	}
	if err := signal(syscall.SIGSTOP, pids...); err != nil {
		return nil, err
	}
	// What was settling is settled then.
	if err := wait.For(ctx, time.Second); err != nil {
		return nil, err
	}
	first, err := namespace(ctx, host)
	if err != nil {
		return nil, err
	}
	if err := wait.For(ctx, 500*time.Millisecond); err != nil {
		return nil, err
	}
	second, err := namespace(ctx, host)
	if err == nil && (second.Succeeded != first.Succeeded || second.InFlight == 0) {
		err = fmt.Errorf("the plugin is stopped and goes on: %d and then %d steps succeeded, %d are in flight", first.Succeeded, second.Succeeded, second.InFlight)
	}
	return pids, err
}

// freezePlugin is noticed by the health check where leases are long, and by
// nobody where they are short: then they are extended.
func freezePlugin(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	begun := time.Now()
	pids, err := stopPlugins(ctx, w)
	if err != nil {
		return "", err
	}
	before, err := namespace(ctx, host)
	if err != nil {
		return "", err
	}
	if err := wait.For(ctx, w.Beyond()-time.Since(begun)); err != nil {
		return "", err
	}
	killed := 0
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGCONT); errors.Is(err, syscall.ESRCH) {
			killed++
		} else if err != nil {
			return "", err
		}
	}
	w.Over()
	if _, err := restored(ctx, w, host, killed); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d steps frozen for %s, %d of %d processes replaced meanwhile", before.InFlight, w.Beyond(), killed, len(pids)), nil
}

func wedgePlugin(ctx context.Context, w *world.World) (string, error) {
	begun := time.Now()
	pids, err := stopPlugins(ctx, w)
	if err != nil {
		return "", err
	}
	plugin, err := restored(ctx, w, w.Hosts[0], len(pids))
	w.Over()
	return fmt.Sprintf("%d processes replaced after %.0f s", plugin.Crashes, time.Since(begun).Seconds()), err
}

func swapLoop(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	before, err := host.Plugin(ctx)
	if err != nil {
		return "", err
	}
	n, err := looped(ctx, w, 100*time.Millisecond, func(int) error {
		_, err := host.Admin().ReloadPlugin(ctx, before.Name)
		return err
	})
	if err != nil {
		return "", err
	}
	after, err := host.Plugin(ctx)
	if err != nil {
		return "", err
	}
	if after.Generation-before.Generation != n {
		return "", fmt.Errorf("%d swaps have made %d generations", n, after.Generation-before.Generation)
	}
	return fmt.Sprintf("%d swaps", n), enough(n, 3, "swaps")
}
