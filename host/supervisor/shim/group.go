package shim

import (
	"sync"
	"syscall"
)

// group is the plugin's process group. Its id is the plugin's process id,
// which belongs to the plugin until it is reaped.
type group struct {
	mu    sync.Mutex
	id    int
	ended bool
}

func (g *group) signal(sig syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		_ = syscall.Kill(-g.id, sig)
	}
}

// end kills what is left. It is called between the plugin's death and its
// reaping, and no signal follows it.
func (g *group) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	_ = syscall.Kill(-g.id, syscall.SIGKILL)
}
