// Package riverclient sets up River, the in-process peer.
package riverclient

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// Clients makes clients on one pool.
type Clients struct{ Pool *pgxpool.Pool }

// Open opens a pool of at most so many connections.
func Open(ctx context.Context, dsn string, connections int) (*Clients, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(connections) //nolint:gosec // a small number
	pool, err := pgxpool.NewWithConfig(ctx, config)
	return &Clients{Pool: pool}, err
}

// Install installs River's tables.
func Install(ctx context.Context, dsn string) error {
	c, err := Open(ctx, dsn, 2)
	if err != nil {
		return err
	}
	defer c.Pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(c.Pool), nil)
	if err == nil {
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	if err != nil {
		return fmt.Errorf("install River's tables: %w", err)
	}
	return nil
}

// New makes a client that logs what is wrong.
func (c *Clients) New(config river.Config) (*river.Client[pgx.Tx], error) {
	config.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return river.NewClient(riverpgxv5.New(c.Pool), &config)
}
