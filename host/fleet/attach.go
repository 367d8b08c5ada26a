package fleet

import (
	"context"
	"time"

	"github.com/stephost/stephost/plugin/protocol"
)

// busyPause is how long a detached plugin waits for a change that has it.
const busyPause = 50 * time.Millisecond

// Attach puts a process that somebody else has started in the place of a
// plugin's own processes, which drain and stop, and returns when it serves; see
// Swap. When it has ended, the plugin goes back to processes of its own. Where
// another attached process is in its place already, that one is let go.
func (f *Fleet) Attach(ctx context.Context, name string, to protocol.Attachment) (Swapped, error) {
	f.mu.Lock()
	m := f.member(name)
	if m == nil || m.current == nil {
		f.mu.Unlock()
		return Swapped{}, &UnknownPluginError{Plugin: name}
	}
	spec := m.current.spec
	f.mu.Unlock()
	spec.Attach = &to
	return f.Swap(ctx, spec)
}

// Follow says what is to be started once the attached process of a plugin has
// ended, and reports whether there is one.
func (f *Fleet) Follow(spec Spec) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.member(spec.Name)
	if m == nil || m.current == nil || m.current.spec.Attach == nil {
		return false
	}
	m.current.after = &spec
	return true
}

// watchAttached waits for the end of an attached process.
func (f *Fleet) watchAttached(m *member, g *generation) {
	f.background.Go(func() {
		select {
		case <-g.plugin.Detached():
			f.takeBack(m, g)
		case <-g.gone:
		case <-f.life.Done():
		}
	})
}

// takeBack starts a plugin's own processes after an attached one has ended. It
// does not wait until they are ready: until then the messages stay queued.
func (f *Fleet) takeBack(m *member, g *generation) {
	for !f.replaced(m, g) {
		select {
		case <-time.After(busyPause):
		case <-f.life.Done():
			return
		}
	}
}

// replaced reports whether the generation is not current any more, and sees to
// it unless a change has the plugin.
func (f *Fleet) replaced(m *member, g *generation) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.stopped || m.current != g:
		return true
	case m.busy:
		return false
	}
	spec := g.spec
	if g.after != nil {
		spec = *g.after
	}
	spec.Attach = nil
	log := f.opts.Deps.Logger.With("plugin", m.name)
	own, err := f.begin(m, spec)
	if err != nil {
		log.Error("the plugin's own program cannot be started after an attached process", "error", err)
		return true
	}
	m.current = own
	if err := f.bind(f.executors()); err != nil {
		log.Error("the namespaces cannot be bound after an attached process", "error", err)
	}
	log.Info("the attached process has ended; the plugin's own program takes its place", "generation", own.number)
	f.retire(m, g)
	return true
}
