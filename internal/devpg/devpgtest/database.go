package devpgtest

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Fill prepares a template database. It must not leave a connection of its own
// open.
type Fill func(ctx context.Context, conn *pgx.Conn) error

// Option changes what New gives.
type Option func(*request)

type request struct {
	template string
	fill     Fill
}

// Template makes the database a copy of the named template. The first test of
// the process that asks for the name fills it; so a name must always come with
// the same function.
func Template(name string, fill Fill) Option {
	return func(r *request) { r.template, r.fill = name, fill }
}

// New returns the DSN of a fresh database, empty or a copy of a template, that
// only this test has. It is dropped at the end of the test, also when
// connections are still open.
func New(t testing.TB, opts ...Option) (dsn string) {
	t.Helper()
	var req request
	for _, opt := range opts {
		opt(&req)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	name, err := process.create(ctx, req)
	if err != nil {
		t.Fatalf("make a test database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := process.exec(ctx, fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", name)); err != nil {
			t.Errorf("drop the test database: %v", err)
		}
	})
	return process.cluster.DSN(name)
}
