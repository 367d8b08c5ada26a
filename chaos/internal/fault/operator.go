package fault

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/eventsystem"
)

// operator are the things that an operator does, done without a rest.
func operator() []Fault {
	return []Fault{{
		Name:   "reload-loop",
		About:  "the configuration changes and is reloaded again and again, plugin and namespace alike",
		Inject: reloadLoop,
	}, {
		Name:   "mode-loop",
		About:  "the deployment mode is switched again and again",
		Inject: modeLoop,
	}, {
		Name:   "pause-loop",
		About:  "the namespace is paused and resumed again and again",
		Inject: pauseLoop,
	}}
}

func reloadLoop(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	namespaces, plugins := 0, 0
	n, err := looped(ctx, w, 50*time.Millisecond, func(n int) error {
		err := host.Rewrite(func(s *world.Settings) {
			s.Concurrency = 20 + 10*(n%4)
			if n%4 == 3 {
				s.Edition = strconv.Itoa(n)
			}
		})
		if err != nil {
			return err
		}
		report, err := host.Admin().Reload(ctx)
		if err == nil && !report.Changed {
			err = fmt.Errorf("reload %d has changed nothing", n)
		}
		namespaces += len(report.Namespaces.Changed)
		plugins += len(report.Plugins.Changed)
		return err
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d reloads, %d changed the namespace, %d the plugin", n, namespaces, plugins), enough(plugins, 2, "reloads with a new plugin")
}

func modeLoop(ctx context.Context, w *world.World) (string, error) {
	modes := []eventsystem.Mode{eventsystem.PollingOnly, eventsystem.EventDrivenOnly, eventsystem.Hybrid}
	host := w.Hosts[0]
	n, err := looped(ctx, w, 50*time.Millisecond, func(n int) error {
		state, err := host.Admin().SetMode(ctx, modes[n%len(modes)])
		if err == nil && state.Mode != modes[n%len(modes)] {
			err = fmt.Errorf("the mode is %s and not %s", state.Mode, modes[n%len(modes)])
		}
		return err
	})
	if err != nil {
		return "", err
	}
	// The mode of the warm-up is that of the recovery.
	if _, err := host.Admin().SetMode(ctx, eventsystem.Hybrid); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d switches", n), enough(n, 9, "switches")
}

func pauseLoop(ctx context.Context, w *world.World) (string, error) {
	host := w.Hosts[0]
	n, err := looped(ctx, w, 50*time.Millisecond, func(n int) error {
		ns, err := namespace(ctx, host)
		if err != nil {
			return err
		}
		_, err = host.Admin().SetPaused(ctx, ns.Name, n%2 == 0)
		return err
	})
	if err != nil {
		return "", err
	}
	ns, err := namespace(ctx, host)
	if err != nil {
		return "", err
	}
	_, err = host.Admin().SetPaused(ctx, ns.Name, false)
	w.Over()
	return fmt.Sprintf("%d times paused or resumed", n), err
}
