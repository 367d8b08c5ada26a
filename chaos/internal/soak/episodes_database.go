package soak

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// crashPostgres ends the server at once and starts it again on the same data.
func crashPostgres(ctx context.Context, r *run) error {
	r.Postgres.Crash()
	return errors.Join(r.sleep(ctx, 0, r.Hold/2), r.Postgres.Restart(ctx))
}

func endBackends(ctx context.Context, r *run) error { return r.end(ctx, `stephost%`) }

func endListener(ctx context.Context, r *run) error { return r.end(ctx, `stephost listen`) }

// end terminates the connections whose application is like the pattern. After an
// earlier fault there may be none yet.
func (r *run) end(ctx context.Context, application string) error {
	return r.Until(ctx, fmt.Sprintf("there is a connection called %q", application), func() (bool, error) {
		var ended int
		err := r.DB.QueryRow(ctx, `
			SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name LIKE $1`, application).Scan(&ended)
		return ended > 0, err
	})
}

// holdHorizon keeps a snapshot open: nothing that dies meanwhile can be vacuumed.
func holdHorizon(ctx context.Context, r *run) error {
	return pgx.BeginTxFunc(ctx, r.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT count(*) FROM chaos.acked`); err != nil {
			return err
		}
		return r.sleep(ctx, r.Hold/2, r.Hold)
	})
}
