package fleet

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stephost/stephost/host/supervisor"
)

// Spec is what a generation is started from.
type Spec struct {
	supervisor.Spec
	// Drain is how long a generation may finish its steps when it is replaced or
	// removed. What is unfinished then is cancelled and given back.
	Drain time.Duration
}

// generation is all processes that were started from one spec.
type generation struct {
	spec   Spec
	number int
	plugin *supervisor.Plugin
	// after is what follows an attached process where it is not spec; the fleet's
	// mutex guards it.
	after *Spec
	// gone is closed when it has been stopped.
	gone chan struct{}
}

// begin starts a generation; f.mu is held.
func (f *Fleet) begin(m *member, spec Spec) (*generation, error) {
	if f.stopped {
		return nil, ErrStopped
	}
	numbered := spec.Spec
	numbered.Generation = m.last + 1
	plugin, err := supervisor.Start(numbered, f.opts.Deps)
	if err != nil {
		return nil, err
	}
	m.last++
	g := &generation{spec: spec, number: m.last, plugin: plugin, gone: make(chan struct{})}
	f.alive[g] = struct{}{}
	return g, nil
}

// ready waits until all processes are. The first one that fails to start ends
// the wait.
func (g *generation) ready(ctx context.Context) error {
	if g.spec.Attach != nil {
		// Somebody may look at its setup in a debugger.
		return g.plugin.WaitStarted(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready within %v", readyTimeout))
	defer cancel()
	return g.plugin.WaitStarted(ctx)
}

// retire lets a generation finish its steps and stops it. f.mu is held.
func (f *Fleet) retire(m *member, g *generation) {
	m.retiring = append(m.retiring, g)
	f.background.Go(func() {
		f.drain(f.life, g)
		f.dispose(g)
		f.mu.Lock()
		defer f.mu.Unlock()
		m.retiring = slices.DeleteFunc(m.retiring, func(other *generation) bool { return other == g })
		f.forget(m)
	})
}

// forget drops a member that was removed and has nothing left; f.mu is held.
func (f *Fleet) forget(m *member) {
	if m.current == nil && len(m.retiring) == 0 && !m.busy {
		f.members = slices.DeleteFunc(f.members, func(other *member) bool { return other == m })
	}
}

// drain lets a generation finish its steps, as long as its spec allows, and
// calls back what it has not finished. It returns early when ctx ends.
func (f *Fleet) drain(ctx context.Context, g *generation) {
	began := time.Now()
	f.mu.Lock()
	limit := g.spec.Drain
	f.mu.Unlock()
	err := within(ctx, limit, g.plugin.Drain)
	if err == nil || ctx.Err() != nil {
		return
	}
	f.opts.Deps.Logger.Warn("the old generation of a plugin does not finish in time; its steps are cancelled and given back",
		"plugin", g.spec.Name, "generation", g.number, "after", time.Since(began).Round(time.Millisecond), "error", err)
	f.opts.Recall(g.plugin)
	_ = within(ctx, max(g.spec.Timeouts.Stop, time.Second), g.plugin.Drain) // what is left now is lost with the process
}

func within(ctx context.Context, limit time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return do(ctx)
}

// dispose stops a generation. The supervisor bounds how long that takes.
func (f *Fleet) dispose(g *generation) {
	if err := g.plugin.Stop(context.Background()); err != nil {
		f.opts.Deps.Logger.Error("a plugin's generation does not stop", "plugin", g.spec.Name, "generation", g.number, "error", err)
	}
	f.mu.Lock()
	delete(f.alive, g)
	f.mu.Unlock()
	close(g.gone)
	f.opts.Deps.Logger.Info("plugin generation ended", "plugin", g.spec.Name, "generation", g.number)
}

func (g *generation) snapshot(name string, retiring bool) Generation {
	return Generation{Name: name, Number: g.number, Retiring: retiring, Plugin: g.plugin}
}
