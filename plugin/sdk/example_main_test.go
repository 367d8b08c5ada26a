package sdk_test

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

// The smallest useful plugin.
func Example() {
	// func main() { sdk.Main(sdk.Handle("charge", charge)) }
	deliver(sdk.New(sdk.Handle("charge", charge)), "charge", `{"OrderID": "17"}`)
	// Output:
	// [INFO]  charging: attempt=1 message_id=1 namespace=test step=charge order=17
	// completed: {"ID":"r-17"}
}
