package fleet

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/supervisor"
)

// Bind points the namespaces to the executors of their plugins, by the
// plugins' names. It is called under the fleet's lock and must not call the
// fleet. After an error the table that was in force must still be.
type Bind func(current map[string]processor.Executor) error

// Options are what a Fleet is made of. All fields are required.
type Options struct {
	Deps supervisor.Deps
	// Bind is called whenever a plugin has a new generation.
	Bind Bind
	// Recall cancels the steps that are still with an executor whose time to
	// drain is over, so that they are given back.
	Recall func(processor.Executor)
}

// Fleet runs named plugins. All methods are safe for concurrent use.
type Fleet struct {
	opts Options
	// life ends at Stop, and drains with it; changes ends at Freeze, and what
	// brings up new generations with it.
	life       context.Context
	end        context.CancelFunc
	changes    context.Context
	endChanges context.CancelFunc
	// background has the drains of old generations.
	background sync.WaitGroup

	mu      sync.Mutex
	bind    Bind
	members []*member
	alive   map[*generation]struct{}
	stopped bool // no generation is begun any more
}

// member is one plugin; the fleet's mutex guards it.
type member struct {
	name string
	// current takes the steps; nil once the plugin has been removed.
	current *generation
	// retiring are older generations that have not ended, oldest first.
	retiring []*generation
	// last is the number of the newest generation.
	last int
	// busy: a change has it.
	busy bool
}

// New makes a fleet without plugins.
func New(opts Options) *Fleet {
	f := &Fleet{opts: opts, bind: opts.Bind, alive: make(map[*generation]struct{})}
	f.life, f.end = context.WithCancel(context.Background())
	f.changes, f.endChanges = context.WithCancel(f.life)
	return f
}

// Start begins to run plugins and binds them; it does not wait until they are
// ready. The error is about a spec or the binding.
func (f *Fleet) Start(specs []Spec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, spec := range specs {
		m := f.join(spec.Name)
		g, err := f.begin(m, spec)
		if err != nil {
			return err
		}
		m.current = g
	}
	return f.bind(f.executors())
}

// join returns the member of that name, a new one if need be; f.mu is held.
func (f *Fleet) join(name string) *member {
	if m := f.member(name); m != nil {
		return m
	}
	m := &member{name: name}
	f.members = append(f.members, m)
	return m
}

// member returns the member of that name or nil; f.mu is held.
func (f *Fleet) member(name string) *member {
	for _, m := range f.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

// executors are the current generations; f.mu is held.
func (f *Fleet) executors() map[string]processor.Executor {
	current := make(map[string]processor.Executor, len(f.members))
	for _, m := range f.members {
		if m.current != nil {
			current[m.name] = m.current.plugin
		}
	}
	return current
}

// Generation is a snapshot of one generation of a plugin.
type Generation struct {
	Name string
	// Number counts the generations of a plugin, from 1.
	Number int
	// Retiring: it finishes its steps and takes no more.
	Retiring bool
	Plugin   *supervisor.Plugin
}

// Current are the generations that take steps, one for each plugin, in the
// order in which the plugins were added.
func (f *Fleet) Current() []Generation {
	return slices.DeleteFunc(f.Generations(), func(g Generation) bool { return g.Retiring })
}

// Generations are the current ones, each followed by the older ones of its
// plugin that have not ended.
func (f *Fleet) Generations() []Generation {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []Generation
	for _, m := range f.members {
		if m.current != nil {
			list = append(list, m.current.snapshot(m.name, false))
		}
		for _, g := range m.retiring {
			list = append(list, g.snapshot(m.name, true))
		}
	}
	return list
}

// Lookup returns the current generation of a plugin.
func (f *Fleet) Lookup(name string) (Generation, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.member(name); m != nil && m.current != nil {
		return m.current.snapshot(name, false), true
	}
	return Generation{}, false
}

// SetDrain changes how long the current generation of a plugin may finish its
// steps once it is replaced or removed.
func (f *Fleet) SetDrain(name string, limit time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.member(name); m != nil && m.current != nil {
		m.current.spec.Drain = limit
	}
}

// Freeze gives up the changes that are under way and refuses others from now
// on. Nothing that has steps is stopped by it: old generations go on draining.
func (f *Fleet) Freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	f.endChanges()
}

// Stop ends all generations, those that drain and those that are being
// prepared too. Steps in flight are lost; let the processor drain first. When
// it returns, nothing of the fleet is left.
func (f *Fleet) Stop(ctx context.Context) error {
	f.mu.Lock()
	f.stopped = true
	all := make([]*generation, 0, len(f.alive))
	for g := range f.alive {
		all = append(all, g)
	}
	f.end()
	f.mu.Unlock()
	var group errgroup.Group
	for _, g := range all {
		group.Go(func() error {
			if err := g.plugin.Stop(ctx); err != nil {
				return fmt.Errorf("stop plugin %q: %w", g.spec.Name, err)
			}
			return nil
		})
	}
	err := group.Wait()
	f.background.Wait()
	return err
}

// readyTimeout is for a generation to become ready: more than the supervisor's
// own deadlines for the parts of a start add up to.
const readyTimeout = 2 * time.Minute
