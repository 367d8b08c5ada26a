package devbuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stephost/stephost/internal/filewatch"
)

// Package is a plugin's Go package.
type Package struct {
	Plugin string
	// Dir is the directory of the package, absolute.
	Dir string
	// Output is the program to be made, absolute.
	Output string
}

// Options are what a Builder is made of. All fields are required.
type Options struct {
	// Swap replaces the plugin's processes by new ones of its output, or reports
	// that these have to wait: the plugin runs in a debugger.
	Swap func(ctx context.Context, plugin string) (swapped bool, err error)
	// Show tells the developer something, in one or more whole lines.
	Show func(text string)
}

// Builder builds packages. All methods are safe for concurrent use.
type Builder struct {
	opts Options

	mu    sync.Mutex
	units []*unit
}

// Sources are looked at every interval, and are saved when none has changed for
// quiet: editors write several files, and in several steps.
const (
	interval = 150 * time.Millisecond
	quiet    = 150 * time.Millisecond
)

// unit is one package and what is known of it.
type unit struct {
	Package
	sources []string // what its build reads
	changes filewatch.Debounce
	// sum is of the output; empty until it is built.
	sum   string
	built atomic.Bool
	// busy: it is being built, and whoever does that has the fields above.
	busy atomic.Bool
}

// New makes a builder without packages.
func New(opts Options) *Builder { return &Builder{opts: opts} }

// Build builds packages for the first time. What does not build is shown, and
// is no error: see Unbuilt. The error is about the directories of the outputs,
// or ctx has ended.
func (b *Builder) Build(ctx context.Context, packages []Package) error {
	var units []*unit
	for _, p := range packages {
		units = append(units, &unit{Package: p})
	}
	errs := b.each(units, func(u *unit) error {
		err := b.first(ctx, u)
		var failed *BuildError
		if errors.As(err, &failed) && ctx.Err() == nil {
			b.show("plugin %s does not build, its namespaces wait; save a file to try again\n%v\n", u.Plugin, failed.Err)
			return nil
		}
		return err
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.units = units
	return errors.Join(errs...)
}

// BuildError is a package that does not build.
type BuildError struct {
	Plugin string
	// Err is what the go command says.
	Err error
}

func (e *BuildError) Error() string { return e.Err.Error() }

func (e *BuildError) Unwrap() error { return e.Err }

// Change makes these the packages, after a change of the configuration. New
// ones are built; when one of them does not build, nothing has changed and the
// error is a *BuildError.
func (b *Builder) Change(ctx context.Context, packages []Package) error {
	b.mu.Lock()
	known := make(map[Package]*unit, len(b.units))
	for _, u := range b.units {
		known[u.Package] = u
	}
	b.mu.Unlock()
	var units, fresh []*unit
	for _, p := range packages {
		u := known[p]
		if u == nil {
			u = &unit{Package: p}
			fresh = append(fresh, u)
		}
		units = append(units, u)
	}
	for _, err := range b.each(fresh, func(u *unit) error { return b.first(ctx, u) }) {
		if err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.units = units
	return nil
}

// each works on all units at once.
func (b *Builder) each(units []*unit, do func(*unit) error) []error {
	errs := make([]error, len(units))
	var all sync.WaitGroup
	for i, u := range units {
		all.Go(func() { errs[i] = do(u) })
	}
	all.Wait()
	return errs
}

func (b *Builder) first(ctx context.Context, u *unit) error {
	if err := os.MkdirAll(filepath.Dir(u.Output), 0o755); err != nil {
		return fmt.Errorf("make the directory for plugin %q: %w", u.Plugin, err)
	}
	// What an earlier run has built is not what is in the directory now.
	if err := os.Remove(u.Output); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove an old build of plugin %q: %w", u.Plugin, err)
	}
	began := time.Now()
	fresh, err := b.make(ctx, u)
	if err != nil {
		return &BuildError{Plugin: u.Plugin, Err: err}
	}
	if err := os.Rename(fresh, u.Output); err != nil {
		return fmt.Errorf("put the program of plugin %q in its place: %w", u.Plugin, err)
	}
	if u.sum, err = filewatch.Sum(u.Output); err != nil {
		return err
	}
	u.built.Store(true)
	b.show("plugin %s is built, in %v\n", u.Plugin, round(time.Since(began)))
	return nil
}

// Unbuilt says that a plugin has no program yet, or nothing.
func (b *Builder) Unbuilt(plugin string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range b.units {
		if u.Plugin == plugin && !u.built.Load() {
			return "its package does not build: " + u.Dir
		}
	}
	return ""
}

// Run builds and swaps whatever is saved, until ctx ends.
func (b *Builder) Run(ctx context.Context) {
	var builds sync.WaitGroup
	defer builds.Wait()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		b.mu.Lock()
		units := b.units
		b.mu.Unlock()
		for _, u := range units {
			if u.busy.Load() || !u.changes.Look(u.state(), time.Now()) {
				continue
			}
			u.busy.Store(true)
			builds.Go(func() {
				defer u.busy.Store(false)
				b.again(ctx, u)
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// again builds a package that was saved and swaps its plugin.
func (b *Builder) again(ctx context.Context, u *unit) {
	began := time.Now()
	fresh, err := b.make(ctx, u)
	if err != nil {
		if ctx.Err() == nil {
			b.show("plugin %s does not build, %s\n%v\n", u.Plugin, u.meanwhile(), err)
		}
		return
	}
	sum, err := filewatch.Sum(fresh)
	if err == nil && sum == u.sum {
		b.show("plugin %s is built, and is what runs already\n", u.Plugin)
		err = os.Remove(fresh)
	} else if err == nil {
		var swapped bool
		swapped, err = b.install(ctx, u, fresh)
		if err == nil {
			u.sum = sum
		}
		switch {
		case err != nil:
		case swapped:
			b.show("plugin %s is built and swapped, in %v\n", u.Plugin, round(time.Since(began)))
		default:
			b.show("plugin %s is built, and takes over when the attached process ends\n", u.Plugin)
		}
	}
	if err != nil && ctx.Err() == nil {
		b.show("plugin %s is built and cannot take over, %s\n%v\n", u.Plugin, u.meanwhile(), err)
	}
}

// install makes a program the output and swaps the plugin; a program that does
// not come up is taken back.
func (b *Builder) install(ctx context.Context, u *unit, fresh string) (swapped bool, err error) {
	// At every moment there is a program to start, should the old one crash.
	old := u.Output + ".old"
	_ = os.Remove(old)
	if err := os.Link(u.Output, old); err != nil && u.built.Load() {
		return false, fmt.Errorf("keep the old program: %w", err)
	}
	if err := os.Rename(fresh, u.Output); err != nil {
		return false, fmt.Errorf("put the new program in its place: %w", err)
	}
	was := u.built.Swap(true)
	swapped, err = b.opts.Swap(ctx, u.Plugin)
	switch {
	case err == nil && was:
		return swapped, os.Remove(old)
	case err == nil:
		return swapped, nil
	case was:
		return false, errors.Join(err, os.Rename(old, u.Output))
	default:
		u.built.Store(false)
		return false, errors.Join(err, os.Remove(u.Output))
	}
}

// meanwhile is what happens while there is nothing new.
func (u *unit) meanwhile() string {
	if u.sum == "" {
		return "its namespaces wait"
	}
	return "the version that runs serves on"
}

func (b *Builder) show(format string, args ...any) { b.opts.Show(fmt.Sprintf(format, args...)) }

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
