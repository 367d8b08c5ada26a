package world

import (
	"context"

	"github.com/stephost/stephost/chaos/internal/load"
)

// Options are what a world looks like when its load begins. The zero value of
// what a fault may shape is filled in by Defaults.
type Options struct {
	Form
	// Stephost and Handler are the programs.
	Stephost, Handler string
	// Dir is where the world keeps its files. It must exist.
	Dir string

	// Hosts is how many hosts share the queues, Instances how many processes each
	// has for the plugin, and Concurrency how many steps each runs at once.
	Hosts, Instances, Concurrency int
	// Mode is the hosts' deployment_mode.
	Mode string
	// PoolConnections is pool.max_connections of each host.
	PoolConnections int
	// Timeout is the namespace's, as HCL writes it; DrainTimeout and KillTimeout
	// are the hosts'.
	Timeout, DrainTimeout, KillTimeout string
	// Server are settings of PostgreSQL.
	Server map[string]string
	// TempDir is the TMPDIR of the hosts; empty: that of the driver.
	TempDir string
	// QueueExtra is more of the hosts' queue block.
	QueueExtra string
	// Leak is how many bytes the handler leaks with each step.
	Leak int
	// Mix is the load.
	Mix load.Mix
	// Via says how a host gets to the database. It is asked once for each host,
	// before that starts, and with the database running; nil is the direct way.
	Via func(ctx context.Context, w *World, host int) (Route, error)
}

// Route is how a host gets to the database.
type Route struct {
	DSN string
	// Listen is the host's listen_dsn; empty: none.
	Listen string
}

// Defaults are a world with one host, before a fault has shaped it.
func Defaults(form Form) Options {
	return Options{
		Form: form, Hosts: 1, Instances: 2, Concurrency: 50, Mode: "Hybrid", PoolConnections: 8,
		Timeout: "20s", DrainTimeout: "20s", KillTimeout: "5s", Mix: load.Steady,
	}
}
