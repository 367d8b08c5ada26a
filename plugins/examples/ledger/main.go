// Command ledger books amounts on accounts in a database of its own, each
// message once, although its handler may run more than once.
package main

import (
	"context"

	"github.com/stephost/stephost/plugin/sdk"
)

// Config is the plugin's config block.
type Config struct {
	DSN sdk.Secret `hcl:"dsn" description:"the database of the accounts; it need not be that of the queues"`
}

func main() { sdk.MainWith(setup) }

func setup(ctx context.Context, cfg Config) (*sdk.Plugin, error) {
	l, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return l.plugin(), nil
}
