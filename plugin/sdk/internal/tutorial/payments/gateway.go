package main

import (
	"context"
	"errors"
	"net/url"
	"time"
)

// What the gateway answers.
var (
	ErrBlocked = errors.New("the card is blocked")
	ErrBusy    = errors.New("the gateway is busy")
	ErrClosed  = errors.New("the gateway is closed at night")
	errBroken  = errors.New("the gateway is broken")
)

// Gateway stands for another system. Amounts say what it answers.
type Gateway struct{}

// Dial checks the endpoint; this gateway is in memory.
func Dial(_ context.Context, endpoint, _ string) (*Gateway, error) {
	if u, err := url.Parse(endpoint); err != nil || u.Host == "" {
		return nil, errors.New("must be a URL")
	}
	return &Gateway{}, nil
}

// Charge charges once for each key.
func (g *Gateway) Charge(_ context.Context, _ string, cents int, _ string) (string, error) {
	answers := map[int]error{1: ErrBlocked, 2: ErrBusy, 3: ErrClosed, 4: errBroken}
	return "r-1", answers[cents]
}

// Store takes a minute for a row.
func (g *Gateway) Store(ctx context.Context, _ int) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Minute):
		return nil
	}
}

// Close ends the connection.
func (g *Gateway) Close() error { return nil }
