package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/host/supervisor"
)

// Swapped tells how a swap went.
type Swapped struct {
	Plugin   string
	Old, New Version
	// Took is the time until the new generation was ready and bound.
	Took time.Duration
}

// Version is one generation for people.
type Version struct {
	Generation int
	// Version is what the plugin calls itself; empty if it was never ready.
	Version string
	PIDs    []int
}

// Swap replaces a plugin's generation by one of the spec and returns when the
// new one serves, which the old one's last steps may outlast. After an error
// the old one serves on; see Prepare. ctx bounds the wait, not the swap.
func (f *Fleet) Swap(ctx context.Context, spec Spec) (Swapped, error) {
	type outcome struct {
		swapped Swapped
		err     error
	}
	done := make(chan outcome, 1)
	f.mu.Lock()
	if f.stopped {
		f.mu.Unlock()
		return Swapped{}, ErrStopped
	}
	f.background.Go(func() {
		swapped, err := f.swap(f.changes, spec)
		done <- outcome{swapped, err}
	})
	f.mu.Unlock()
	select {
	case o := <-done:
		return o.swapped, o.err
	case <-ctx.Done():
		return Swapped{}, fmt.Errorf("the swap of plugin %q goes on, and the log will tell how it ends: %w", spec.Name, context.Cause(ctx))
	}
}

func (f *Fleet) swap(ctx context.Context, spec Spec) (Swapped, error) {
	began := time.Now()
	if _, known := f.Lookup(spec.Name); !known {
		return Swapped{}, &UnknownPluginError{Plugin: spec.Name}
	}
	if spec.Hold != "" {
		return Swapped{}, fmt.Errorf("plugin %q is not swapped: %s", spec.Name, spec.Hold)
	}
	p, err := f.Prepare(ctx, Change{Start: []Spec{spec}})
	var busy *BusyError
	if errors.As(err, &busy) {
		return Swapped{}, err
	}
	log := f.opts.Deps.Logger.With("plugin", spec.Name)
	if err != nil {
		log.Error("plugin is not swapped", "error", err)
		return Swapped{}, fmt.Errorf("plugin %q is not swapped: %w", spec.Name, err)
	}
	part := p.parts[0]
	swapped := Swapped{Plugin: spec.Name, Old: part.before, New: versionOf(part.fresh)}
	if err := p.Flip(nil); err != nil {
		return Swapped{}, fmt.Errorf("plugin %q is not swapped: %w", spec.Name, errors.Join(err, p.Abort()))
	}
	swapped.Took = time.Since(began)
	log.Info("plugin swapped", "generation", swapped.New.Generation, "version", swapped.New.Version,
		"old_version", swapped.Old.Version, "took", swapped.Took.Round(time.Millisecond))
	return swapped, nil
}

func versionOf(g *generation) Version {
	if g == nil {
		return Version{}
	}
	status := g.plugin.Status()
	v := Version{Generation: g.number, Version: status.Version}
	for _, i := range status.Instances {
		if i.State != supervisor.StateStopped && i.PID != 0 {
			v.PIDs = append(v.PIDs, i.PID)
		}
	}
	return v
}
