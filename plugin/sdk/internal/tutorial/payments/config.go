package main

import (
	"context"
	"time"

	"github.com/stephost/stephost/plugin/sdk"
)

type Config struct {
	Endpoint string            `hcl:"endpoint" description:"where the gateway is"`
	Currency string            `hcl:"currency" default:"EUR"`
	Patience time.Duration     `hcl:"patience" default:"30s"`
	APIKey   sdk.Secret        `hcl:"api_key,optional"`
	Retries  *int              `hcl:"retries"`
	Tags     map[string]string `hcl:"tags,optional"`
	TLS      *TLS              `hcl:"tls,block"`
	Backends []Backend         `hcl:"backend,block"`
	Limits   map[string]Limit  `hcl:"limit,block"`
}

type TLS struct {
	CAFile string `hcl:"ca_file"`
}

type Backend struct {
	Name string `hcl:"name,label"`
	URL  string `hcl:"url"`
}

type Limit struct {
	PerSecond int `hcl:"per_second" default:"10"`
}

func setup(ctx context.Context, cfg Config) (*sdk.Plugin, error) {
	gateway, err := Dial(ctx, cfg.Endpoint, cfg.APIKey.Reveal())
	if err != nil {
		return nil, sdk.FieldError("endpoint", err)
	}
	p := &payments{gateway: gateway, currency: cfg.Currency, patience: cfg.Patience}
	return sdk.New(
		sdk.Handle("charge", p.charge, sdk.Default()),
		sdk.Handle("import", p.importFile, sdk.Timeout(time.Hour)),
		sdk.Use(timed),
		sdk.MaxConcurrency(8), // what the gateway allows
		sdk.OnClose(gateway.Close),
	), nil
}
