package soak

import (
	"github.com/stephost/stephost/chaos/internal/vitals"
	"github.com/stephost/stephost/chaos/internal/world"
)

// part is what a host is there for.
type part int

const (
	calm part = iota
	battered
	mortal
	hosts
)

func (p part) String() string {
	return [...]string{"calm host", "battered host", "mortal host"}[p]
}

func (r *run) host(p part) *world.Host { return r.Hosts[p] }

// hosts are those that run now, for the measurements.
func (r *run) hosts() []vitals.Host {
	var running []vitals.Host
	for i, h := range r.Hosts {
		pid := h.PID()
		if pid == 0 {
			continue
		}
		running = append(running, vitals.Host{
			Name: part(i).String(), PID: pid, Admin: h.AdminAddr(),
			Passing: part(i) == mortal, PluginsPassing: part(i) == battered,
		})
	}
	return running
}
