package soak

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stephost/stephost/internal/wait"
)

// episode is a fault that comes and goes while the world lives on.
type episode struct {
	name string
	// happen makes it happen, waits until it had its effect, and mends it.
	happen func(ctx context.Context, r *run) error
}

// episodes are all that fit a world that has to go on.
func episodes() []episode {
	return []episode{
		{"kill-plugin", killPlugin},
		{"freeze-plugin", freezePlugin},
		{"swap-plugin", swapPlugin},
		{"poison", poison},
		{"kill-host", killHost},
		{"restart-host", restartHost},
		{"reload", reload},
		{"empty-reload", emptyReload},
		{"switch-mode", switchMode},
		{"pause", pause},
		{"crash-postgres", crashPostgres},
		{"end-backends", endBackends},
		{"end-listen", endListener},
		{"hold-xmin", holdHorizon},
		{"cut-network", cutNetwork},
		{"lose-network", loseNetwork},
	}
}

// Faults are the names of all faults.
func Faults() []string {
	var names []string
	for _, e := range episodes() {
		names = append(names, e.name)
	}
	return names
}

// named returns the faults with these names, or all of them when there are none.
func named(names []string) ([]episode, error) {
	all := episodes()
	if len(names) == 0 {
		return all, nil
	}
	found := make([]episode, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(all, func(e episode) bool { return e.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no fault %q: use %s", name, strings.Join(Faults(), ", "))
		}
		found = append(found, all[i])
	}
	return found, nil
}

// within is a random duration of at least from.
func (r *run) within(from, to time.Duration) time.Duration {
	return from + time.Duration(r.dice.Int64N(int64(to-from)))
}

// ready waits until a host's plugin has all its instances, and done says yes.
func (r *run) ready(ctx context.Context, p part, what string, done func(crashes uint64) bool) error {
	return r.Until(ctx, fmt.Sprintf("the %s %s", p, what), func() (bool, error) {
		plugin, err := r.host(p).Plugin(ctx)
		if err != nil {
			return false, nil //nolint:nilerr // asked again until ctx ends
		}
		return plugin.Ready == r.Instances && done(plugin.Crashes), nil
	})
}

// sleep is world.Sleep for a random time.
func (r *run) sleep(ctx context.Context, from, to time.Duration) error {
	return wait.For(ctx, r.within(from, to))
}
