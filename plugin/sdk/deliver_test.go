package sdk_test

import (
	"context"
	"fmt"

	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/internal/exampletest"
	"github.com/stephost/stephost/plugin/sdk/sdktest"
)

// deliver hands a message to a plugin as a host would and prints what the
// plugin logs and what becomes of the message.
func deliver(plugin *sdk.Plugin, step, message string) {
	exampletest.Run(func(t *exampletest.T) {
		fmt.Println(sdktest.Start(t, plugin).Run(step, message))
	})
}

// configure gives a setup function its config block as the user writes it and
// prints the outcome of one step, or what the host prints about the block.
func configure[C any](setup func(context.Context, C) (*sdk.Plugin, error), hcl, step, message string) {
	exampletest.Run(func(t *exampletest.T) {
		fmt.Println(sdktest.StartWith(t, setup, sdktest.Config(hcl)).Run(step, message))
	})
}

// refuse prints what the host prints about a config block that is wrong.
func refuse[C any](setup func(context.Context, C) (*sdk.Plugin, error), hcl string) {
	exampletest.Run(func(t *exampletest.T) {
		fmt.Print(sdktest.ConfigError(t, setup, sdktest.Config(hcl)))
	})
}
