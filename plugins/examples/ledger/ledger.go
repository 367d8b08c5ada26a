package main

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stephost/stephost/plugin/sdk"
)

// Entry is the message: an amount for an account.
type Entry struct {
	Account     string `json:"account"`
	AmountCents int64  `json:"amount_cents"`
}

// Booked is the result: the account's balance after the entry.
type Booked struct {
	Account      string `json:"account"`
	BalanceCents int64  `json:"balance_cents"`
}

// tables are made at the start. An entry has the key of the message that it was
// booked for, and what came of it.
const tables = `
CREATE TABLE IF NOT EXISTS accounts (
	name          text   PRIMARY KEY,
	balance_cents bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS entries (
	idempotency_key text        PRIMARY KEY,
	account         text        NOT NULL,
	amount_cents    bigint      NOT NULL,
	balance_cents   bigint,
	booked_at       timestamptz NOT NULL DEFAULT now()
);`

// connectTimeout bounds the first contact with the database.
const connectTimeout = 10 * time.Second

// ledger has what the handler needs.
type ledger struct{ db *pgxpool.Pool }

func open(ctx context.Context, cfg Config) (*ledger, error) {
	db, err := pgxpool.New(ctx, cfg.DSN.Reveal())
	if err != nil {
		return nil, sdk.FieldError("dsn", errors.New("this is not the DSN of a PostgreSQL database"))
	}
	l := &ledger{db: db}
	if err := l.prepare(ctx); err != nil {
		db.Close()
		return nil, sdk.FieldError("dsn", err)
	}
	return l, nil
}

// prepare makes the tables. CREATE TABLE IF NOT EXISTS alone fails when two
// processes start at once.
func (l *ledger) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return pgx.BeginFunc(ctx, l.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('ledger'))`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, tables)
		return err
	})
}

func (l *ledger) plugin(more ...sdk.Option) *sdk.Plugin {
	return sdk.New(append(more, sdk.Handle("book", l.book), sdk.OnClose(func() error {
		l.db.Close()
		return nil
	}))...)
}

// book books the entry of a message, unless that has been done, and has the
// same result again. The key and the effect are one transaction: there is
// never one without the other, whenever the plugin ends.
func (l *ledger) book(ctx context.Context, in Entry) (booked Booked, err error) {
	if in.Account == "" {
		return Booked{}, sdk.Permanent(errors.New("the entry has no account"))
	}
	key := sdk.StepInfo(ctx).IdempotencyKey
	err = pgx.BeginFunc(ctx, l.db, func(tx pgx.Tx) error {
		// Whoever comes second waits here until the first one has committed.
		tag, err := tx.Exec(ctx, `INSERT INTO entries (idempotency_key, account, amount_cents) VALUES ($1, $2, $3)
			ON CONFLICT (idempotency_key) DO NOTHING`, key, in.Account, in.AmountCents)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			sdk.Logger(ctx).Info("booked before", "key", key)
			return tx.QueryRow(ctx, `SELECT account, balance_cents FROM entries WHERE idempotency_key = $1`, key).
				Scan(&booked.Account, &booked.BalanceCents)
		}
		booked.Account = in.Account
		err = tx.QueryRow(ctx, `INSERT INTO accounts AS a (name, balance_cents) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET balance_cents = a.balance_cents + excluded.balance_cents
			RETURNING balance_cents`, in.Account, in.AmountCents).Scan(&booked.BalanceCents)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE entries SET balance_cents = $2 WHERE idempotency_key = $1`, key, booked.BalanceCents)
		return err
	})
	return booked, err
}
