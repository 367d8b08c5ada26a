package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/stephost/stephost/host/supervisor"
)

// Change is a set of plugins that change together.
type Change struct {
	// Start are the specs of plugins that are new or get a new generation.
	Start []Spec
	// Remove names plugins that end.
	Remove []string
}

// Prepared is a change whose new generations are ready. Its owner calls Flip
// or Abort, once.
type Prepared struct {
	fleet *Fleet
	parts []*part
}

// part is one plugin of a change.
type part struct {
	member *member
	spec   *Spec // nil: it is removed
	// old is the generation to replace; nil: the plugin is new. before is what it
	// was when the change began.
	old    *generation
	before Version
	// fresh is the generation that takes over; nil until it was started.
	fresh *generation
	// halted: old was stopped to make room.
	halted bool
}

// Prepare starts the new generations and waits until each is ready. It ends
// with the first one that is not: a *ChangeError says why, and that everything
// is as it was before. A *BusyError says that another change has one of the
// plugins, an *UnknownPluginError that there is nothing to remove. When ctx ends
// the change is given up.
func (f *Fleet) Prepare(ctx context.Context, c Change) (*Prepared, error) {
	p, err := f.reserve(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(f.changes, func() { cancel(ErrStopped) })()
	if err := p.start(ctx); err != nil {
		return nil, &ChangeError{Err: err, Restarted: p.halted(), Restart: p.Abort(), Idle: p.idle()}
	}
	return p, nil
}

// reserve keeps other changes away from the plugins.
func (f *Fleet) reserve(c Change) (*Prepared, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return nil, ErrStopped
	}
	wanted := make(map[string]*Spec, len(c.Start)+len(c.Remove))
	for _, spec := range c.Start {
		wanted[spec.Name] = &spec
	}
	for _, name := range c.Remove {
		if m := f.member(name); m == nil || m.current == nil {
			return nil, &UnknownPluginError{Plugin: name}
		}
		wanted[name] = nil
	}
	names := slices.Sorted(maps.Keys(wanted))
	for _, name := range names {
		if m := f.member(name); m != nil && m.busy {
			return nil, &BusyError{Plugin: name}
		}
	}
	p := &Prepared{fleet: f}
	for _, name := range names {
		m := f.join(name)
		m.busy = true
		p.parts = append(p.parts, &part{member: m, spec: wanted[name], old: m.current, before: versionOf(m.current)})
	}
	return p, nil
}

// release lets other changes have the plugins; f.mu is held.
func (p *Prepared) release() {
	for _, part := range p.parts {
		part.member.busy = false
		p.fleet.forget(part.member)
	}
}

// halted names the plugins whose old generations had to make room.
func (p *Prepared) halted() []string {
	var names []string
	for _, part := range p.parts {
		if part.halted {
			names = append(names, part.member.name)
		}
	}
	return names
}

// idle tells whether one of the plugins has no generation that serves.
func (p *Prepared) idle() bool {
	return slices.ContainsFunc(p.parts, func(part *part) bool {
		return part.spec != nil && (part.old == nil || !part.old.plugin.State().Ready)
	})
}

// exclusive tells whether old and new must not run at the same time.
func (part *part) exclusive() bool {
	return part.spec.Swap == supervisor.SwapStopFirst ||
		part.old != nil && part.old.spec.Swap == supervisor.SwapStopFirst
}

// start brings up what can run beside the old generations first: while that
// fails, nothing has been stopped.
func (p *Prepared) start(ctx context.Context) error {
	var beside, instead []*part
	for _, part := range p.parts {
		switch {
		case part.spec == nil:
		case part.exclusive():
			instead = append(instead, part)
		default:
			beside = append(beside, part)
		}
	}
	if err := each(ctx, beside, p.bringUp); err != nil {
		return err
	}
	return each(ctx, instead, func(ctx context.Context, part *part) error {
		if err := p.makeRoom(ctx, part); err != nil {
			return err
		}
		return p.bringUp(ctx, part)
	})
}

// each works on all parts at once. The first failure ends the others.
func each(ctx context.Context, parts []*part, do func(context.Context, *part) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		group.Go(func() error { return do(ctx, part) })
	}
	return group.Wait()
}

// makeRoom ends what runs of an exclusive plugin.
func (p *Prepared) makeRoom(ctx context.Context, part *part) error {
	f := p.fleet
	f.mu.Lock()
	retiring := slices.Clone(part.member.retiring)
	f.mu.Unlock()
	for _, g := range retiring {
		select {
		case <-g.gone:
		case <-ctx.Done():
			return fmt.Errorf("wait for generation %d of plugin %q to end: %w", g.number, g.spec.Name, context.Cause(ctx))
		}
	}
	if part.old == nil {
		return nil
	}
	// What cannot start at all is no reason to stop what runs.
	if err := supervisor.CheckProgram(part.spec.Spec); err != nil {
		return err
	}
	part.halted = true
	f.drain(ctx, part.old)
	if ctx.Err() != nil && f.finish(part.old) {
		return fmt.Errorf("make room for plugin %q: %w", part.member.name, context.Cause(ctx))
	}
	f.dispose(part.old)
	return nil
}

// finish lets a generation that has begun to drain go on with it in the
// background and stops it then. It reports whether there is time for that.
func (f *Fleet) finish(g *generation) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.life.Err() != nil {
		return false
	}
	f.background.Go(func() {
		f.drain(f.life, g)
		f.dispose(g)
	})
	return true
}

func (p *Prepared) bringUp(ctx context.Context, part *part) error {
	f := p.fleet
	f.mu.Lock()
	fresh, err := f.begin(part.member, *part.spec)
	f.mu.Unlock()
	if err != nil {
		return err
	}
	part.fresh = fresh
	return fresh.ready(ctx)
}

// Flip makes the new generations the current ones and binds the namespaces, in
// one step. bind replaces the fleet's Bind from now on; nil keeps it. Then the
// old generations drain and are stopped, in the background. After an error
// nothing has changed: call Abort.
func (p *Prepared) Flip(bind Bind) error {
	f := p.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return ErrStopped
	}
	if bind == nil {
		bind = f.bind
	}
	for _, part := range p.parts {
		part.member.current = part.fresh
	}
	if err := bind(f.executors()); err != nil {
		for _, part := range p.parts {
			part.member.current = part.old
		}
		return fmt.Errorf("bind the namespaces: %w", err)
	}
	f.bind = bind
	for _, part := range p.parts {
		if part.fresh != nil && part.spec.Attach != nil {
			f.watchAttached(part.member, part.fresh)
		}
		if part.old != nil && !part.halted {
			f.retire(part.member, part.old)
		}
	}
	p.release()
	return nil
}

// Abort stops the new generations. Where an old one had to make room, its spec
// is started again; the error says whether that one came up, if there is any.
func (p *Prepared) Abort() error {
	f := p.fleet
	var ends errgroup.Group
	for _, part := range p.parts {
		if part.fresh != nil {
			ends.Go(func() error {
				f.dispose(part.fresh)
				return nil
			})
		}
	}
	_ = ends.Wait()

	errs := make([]error, len(p.parts))
	var restarts errgroup.Group
	for n, part := range p.parts {
		if part.halted {
			restarts.Go(func() error {
				errs[n] = p.restore(part)
				return nil
			})
		}
	}
	_ = restarts.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	p.release()
	return errors.Join(errs...)
}

// restore starts the spec of a halted generation again, once that has ended.
func (p *Prepared) restore(part *part) error {
	f := p.fleet
	select {
	case <-part.old.gone:
	case <-f.changes.Done():
	}
	f.mu.Lock()
	spec := part.old.spec
	spec.Attach = nil // that process has been let go
	g, err := f.begin(part.member, spec)
	if err == nil {
		part.member.current = g
		err = f.bind(f.executors())
	}
	f.mu.Unlock()
	if err == nil {
		err = g.ready(f.changes)
	}
	if err != nil {
		return fmt.Errorf("start the old version of plugin %q again: %w", part.member.name, err)
	}
	return nil
}
