// Command noop is the smallest plugin: one handler that does nothing.
// `stephost bench` measures with it, so what is left is the cost of the host.
package main

import (
	"context"

	"github.com/stephost/stephost/plugin/sdk"
)

func noop(context.Context, []byte) ([]byte, error) { return nil, nil }

func main() { sdk.Main(sdk.HandleRaw("noop", noop)) }
