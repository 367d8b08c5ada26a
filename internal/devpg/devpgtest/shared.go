package devpgtest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/stephost/stephost/internal/devpg"
)

// process is the cluster that the tests of this process share. It is the one
// variable of this package: tests of a process have nothing else in common
// that could own it.
var process shared

// shared starts a cluster when first asked and fills each template once.
type shared struct {
	start   sync.Once
	err     error
	cluster *devpg.Cluster

	mu        sync.Mutex
	databases int
	templates map[string]*template
}

// template is a database to copy, made by the first who asks.
type template struct {
	once sync.Once
	name string
	err  error
}

// create makes a database and returns its name.
func (s *shared) create(ctx context.Context, req request) (string, error) {
	s.start.Do(func() {
		// The cluster serves later tests too: the context of the first one must
		// not end it, and Start has a bound of its own.
		s.cluster, s.err = devpg.Start(context.WithoutCancel(ctx), devpg.Options{Ephemeral: true})
	})
	if s.err != nil {
		return "", s.err
	}
	source := "template0"
	if req.fill != nil {
		filled := s.template(req.template)
		filled.once.Do(func() { filled.err = s.fill(ctx, filled.name, req.fill) })
		if filled.err != nil {
			return "", fmt.Errorf("fill template %q: %w", req.template, filled.err)
		}
		source = filled.name
	}
	name := s.nextName()
	return name, s.copy(ctx, name, source)
}

func (s *shared) nextName() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.databases++
	return fmt.Sprintf("test_%d", s.databases)
}

func (s *shared) template(name string) *template {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.templates == nil {
		s.templates = map[string]*template{}
	}
	if s.templates[name] == nil {
		s.templates[name] = &template{name: fmt.Sprintf("template_%d", len(s.templates))}
	}
	return s.templates[name]
}

func (s *shared) fill(ctx context.Context, name string, fill Fill) error {
	if err := s.copy(ctx, name, "template0"); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.cluster.DSN(name))
	if err != nil {
		return err
	}
	return errors.Join(fill(ctx, conn), conn.Close(ctx))
}

// copy makes a database from another one. The names are this package's own and
// need no quotes.
func (s *shared) copy(ctx context.Context, name, source string) error {
	return s.exec(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, source))
}

// exec runs one statement on a connection of its own, so that tests do not
// queue for one and none is left to be closed.
func (s *shared) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, s.cluster.DSN("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

// stop ends the cluster if one was started.
func (s *shared) stop(ctx context.Context) error {
	if s.cluster == nil {
		return nil
	}
	return s.cluster.Stop(ctx)
}
