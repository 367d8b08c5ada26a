package soak

import (
	"context"
	"errors"
	"fmt"

	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/eventsystem"
)

// killHost lets the others take over what the host had, and starts a new one.
func killHost(ctx context.Context, r *run) error {
	if err := r.host(mortal).Kill(ctx); err != nil {
		return err
	}
	return errors.Join(r.sleep(ctx, 0, r.Beyond()), r.host(mortal).Start(ctx))
}

func restartHost(ctx context.Context, r *run) error {
	return errors.Join(r.host(mortal).Terminate(ctx), r.host(mortal).Start(ctx))
}

// reload changes the plugin's configuration, which makes a new generation of it.
func reload(ctx context.Context, r *run) error {
	edition := fmt.Sprint(r.dice.Uint32())
	if err := r.host(battered).Rewrite(func(s *world.Settings) { s.Edition = edition }); err != nil {
		return err
	}
	report, err := r.host(battered).Admin().Reload(ctx)
	if err == nil && !report.Changed {
		err = errors.New("nothing has changed")
	}
	return err
}

func emptyReload(ctx context.Context, r *run) error {
	_, err := r.host(calm).Admin().Reload(ctx)
	return err
}

func switchMode(ctx context.Context, r *run) error {
	modes := eventsystem.Modes()
	for range 3 {
		if _, err := r.host(battered).Admin().SetMode(ctx, modes[r.dice.IntN(len(modes))]); err != nil {
			return err
		}
		if err := r.sleep(ctx, r.Hold/8, r.Hold/4); err != nil {
			return err
		}
	}
	_, err := r.host(battered).Admin().SetMode(ctx, eventsystem.Hybrid)
	return err
}
