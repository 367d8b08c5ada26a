package soak

import (
	"context"
	"errors"

	"github.com/stephost/stephost/chaos/internal/netfault"
	"github.com/stephost/stephost/chaos/internal/world"
)

// via leads the battered host through a proxy whose network can be broken, and the
// others directly.
func (r *run) via(_ context.Context, w *world.World, host int) (world.Route, error) {
	if part(host) != battered {
		return world.Route{DSN: w.DSN()}, nil
	}
	var route world.Route
	var err error
	r.network, route, err = w.Network()
	return route, err
}

// cutNetwork has what is sent arrive late.
func cutNetwork(ctx context.Context, r *run) error {
	before := r.network.Stats().Held
	err := r.breakNetwork(ctx, netfault.Cut())
	if err == nil && r.network.Stats().Held == before {
		err = errors.New("nothing was held back")
	}
	return err
}

// loseNetwork has it never arrive, with connections that look open.
func loseNetwork(ctx context.Context, r *run) error {
	before := r.network.Stats().Dropped
	err := r.breakNetwork(ctx, netfault.BlackHole())
	if err == nil && r.network.Stats().Dropped == before {
		err = errors.New("nothing was dropped")
	}
	return err
}

// breakNetwork lasts for less than a lease, or for longer.
func (r *run) breakNetwork(ctx context.Context, how netfault.Network) error {
	r.network.Set(how)
	defer r.network.Set(netfault.Sound())
	return r.sleep(ctx, r.Lease/2, 2*r.Lease)
}
