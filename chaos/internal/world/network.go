package world

import (
	"net/url"

	"github.com/stephost/stephost/chaos/internal/netfault"
)

// Network lays a way to the database whose network can be broken. It goes with the
// world.
func (w *World) Network() (*netfault.Proxy, Route, error) {
	proxy, err := netfault.New(w.Postgres.Addr())
	if err != nil {
		return nil, Route{}, err
	}
	w.AtStop(func() { _ = proxy.Close() })
	dsn, err := url.Parse(w.DSN())
	if err != nil {
		return nil, Route{}, err
	}
	dsn.Host = proxy.Addr()
	return proxy, Route{DSN: dsn.String()}, nil
}
