// Command orders takes an order through three namespaces: orders validates it,
// payments charges it, shipping ships it. Each step emits the next one in the
// transaction that settles it, so an order is never between two steps.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/stephost/stephost/plugin/sdk"
)

// Config is the plugin's config block.
type Config struct {
	// Currency is what amounts are in.
	Currency string `hcl:"currency,optional" default:"EUR"`
}

func main() { sdk.MainWith(setup) }

func setup(_ context.Context, cfg Config) (*sdk.Plugin, error) {
	if len(cfg.Currency) != 3 {
		return nil, sdk.FieldError("currency", fmt.Errorf("%q is not the code of a currency", cfg.Currency))
	}
	shop := &shop{currency: cfg.Currency, region: os.Getenv("ORDERS_REGION")}
	return sdk.New(
		sdk.Handle("validate", shop.validate, sdk.Default()),
		sdk.Handle("charge", shop.charge),
		sdk.Handle("ship", shop.ship),
	), nil
}
