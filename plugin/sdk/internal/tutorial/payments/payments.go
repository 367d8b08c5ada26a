package main

import (
	"context"
	"errors"
	"time"

	"github.com/stephost/stephost/plugin/sdk"
)

// The messages and results of the steps.
type (
	Charge struct {
		OrderID string `json:"order_id"`
		Cents   int    `json:"cents"`
	}
	Receipt struct {
		ID string `json:"id"`
	}
	Ship struct {
		Step    string `json:"step"`
		OrderID string `json:"order_id"`
	}
	Import struct {
		Rows int `json:"rows"`
	}
)

// payments has what the handlers share.
type payments struct {
	gateway  *Gateway
	currency string
	patience time.Duration
}

func (p *payments) charge(ctx context.Context, in Charge) (Receipt, error) {
	key := sdk.StepInfo(ctx).IdempotencyKey
	id, err := p.gateway.Charge(ctx, key, in.Cents, p.currency)
	switch {
	case errors.Is(err, ErrBlocked):
		return Receipt{}, sdk.Permanent(err) // to the dead letters, now
	case errors.Is(err, ErrBusy):
		return Receipt{}, sdk.RetryAfter(err, p.patience) // a failed attempt; the next one then
	case errors.Is(err, ErrClosed):
		return Receipt{}, sdk.Snooze(time.Hour) // no failure, no attempt spent
	case err != nil:
		return Receipt{}, err // the namespace's policy decides
	}
	ship := Ship{Step: "ship", OrderID: in.OrderID}
	if err := sdk.Emit(ctx, sdk.ToNamespace("shipping"), ship); err != nil {
		return Receipt{}, err
	}
	return Receipt{ID: id}, nil
}

func (p *payments) importFile(ctx context.Context, in Import) (int, error) {
	for row := range in.Rows {
		progress := sdk.Progress{Fraction: float64(row) / float64(in.Rows), Message: "importing"}
		if err := sdk.Heartbeat(ctx, progress); err != nil {
			return row, err // it has to stop, and err says why
		}
		if err := p.gateway.Store(ctx, row); err != nil {
			return row, err
		}
	}
	return in.Rows, nil
}

func timed(next sdk.Next) sdk.Next {
	return func(ctx context.Context, in []byte) ([]byte, error) {
		began := time.Now()
		out, err := next(ctx, in)
		sdk.Logger(ctx).Debug("ran", "took", time.Since(began), "error", err)
		return out, err
	}
}
