// Command first is the plugin with which the SDK's documentation begins.
package main

import (
	"context"

	"github.com/stephost/stephost/plugin/sdk"
)

type Charge struct{ OrderID string }
type Receipt struct{ ID string }

func charge(ctx context.Context, in Charge) (Receipt, error) {
	sdk.Logger(ctx).Info("charging", "order", in.OrderID)
	return Receipt{ID: "r-" + in.OrderID}, nil
}

func main() { sdk.Main(sdk.Handle("charge", charge)) }
