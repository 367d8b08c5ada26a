// Package registry maps namespaces to the plugins that own them, and steps to
// handlers. It replaces the seed's task template manager.
//
// # Invariants
//
//   - A lookup sees one whole table: tables are built apart and swapped
//     atomically, so a lookup never waits and never sees half a change.
//   - The registry does not own plugins; it only knows where they are.
package registry

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stephost/stephost/host/processor"
)

// Binding is a namespace with the plugin that owns it.
type Binding struct {
	Namespace string
	Plugin    string
	Executor  processor.Executor
}

// Registry is the table in force. The zero value is empty and ready for use.
// All methods are safe for concurrent use.
type Registry struct {
	table     atomic.Pointer[table]
	refreshes atomic.Uint64
	misses    atomic.Uint64
}

type table struct {
	byNamespace map[string]Binding
	since       time.Time
}

// DuplicateError reports two bindings for one namespace.
type DuplicateError struct{ Namespace, First, Second string }

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("namespace %q is bound to plugin %q and to plugin %q", e.Namespace, e.First, e.Second)
}

// Refresh swaps the whole table. On an error the old one stays in force.
func (r *Registry) Refresh(bindings []Binding) error {
	next := make(map[string]Binding, len(bindings))
	for _, b := range bindings {
		if other, taken := next[b.Namespace]; taken {
			return &DuplicateError{Namespace: b.Namespace, First: other.Plugin, Second: b.Plugin}
		}
		next[b.Namespace] = b
	}
	r.table.Store(&table{byNamespace: next, since: time.Now()})
	r.refreshes.Add(1)
	return nil
}

// Executor returns the plugin of a namespace. It implements
// processor.Registry.
func (r *Registry) Executor(namespace string) (processor.Executor, bool) {
	b, ok := r.Lookup(namespace)
	return b.Executor, ok
}

// Lookup returns the binding of a namespace.
func (r *Registry) Lookup(namespace string) (Binding, bool) {
	if t := r.table.Load(); t != nil {
		if b, ok := t.byNamespace[namespace]; ok {
			return b, true
		}
	}
	r.misses.Add(1)
	return Binding{}, false
}

// Handler is one step that a namespace can run.
type Handler struct {
	Namespace string
	Plugin    string
	Step      string
	Default   bool
	Ready     bool
}

// Handlers lists what the plugins of all namespaces handle, as far as they
// have said so, sorted by namespace and step.
func (r *Registry) Handlers() []Handler {
	var handlers []Handler
	for _, b := range r.List() {
		state := b.Executor.State()
		for _, step := range slices.Sorted(maps.Keys(state.Steps)) {
			handlers = append(handlers, Handler{
				Namespace: b.Namespace, Plugin: b.Plugin, Step: step,
				Default: step == state.Default, Ready: state.Ready,
			})
		}
	}
	return handlers
}

// List returns all bindings, sorted by namespace.
func (r *Registry) List() []Binding {
	t := r.table.Load()
	if t == nil {
		return nil
	}
	list := slices.Collect(maps.Values(t.byNamespace))
	slices.SortFunc(list, func(a, b Binding) int {
		switch {
		case a.Namespace < b.Namespace:
			return -1
		case a.Namespace > b.Namespace:
			return 1
		}
		return 0
	})
	return list
}

// Stats counts what the registry did.
type Stats struct {
	Namespaces int
	Refreshes  uint64
	Misses     uint64
	Since      time.Time
}

// Stats returns a snapshot.
func (r *Registry) Stats() Stats {
	s := Stats{Refreshes: r.refreshes.Load(), Misses: r.misses.Load()}
	if t := r.table.Load(); t != nil {
		s.Namespaces, s.Since = len(t.byNamespace), t.since
	}
	return s
}
