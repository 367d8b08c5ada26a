package host

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// reloads runs one reload after the other until the host drains.
type reloads struct {
	load    Load
	counter *prometheus.CounterVec
	turn    chan struct{} // one place

	life   context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	ended bool
	all   sync.WaitGroup
}

func newReloads(load Load) *reloads {
	life, cancel := context.WithCancel(context.Background())
	return &reloads{
		load: load, turn: make(chan struct{}, 1), life: life, cancel: cancel,
		counter: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stephost_reloads_total", Help: "Reloads of the configuration by result: applied, refused.",
		}, []string{"result"}),
	}
}

// begin runs a reload, unless the host drains.
func (r *reloads) begin(reload func(ctx context.Context)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	r.all.Go(func() {
		select {
		case r.turn <- struct{}{}:
			defer func() { <-r.turn }()
		case <-r.life.Done():
		}
		reload(r.life)
	})
	return true
}

// end abandons the reload that is under way, which each of its steps allows, and
// joins it.
func (r *reloads) end() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.cancel()
	r.all.Wait()
}
