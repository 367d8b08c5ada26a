package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/internal/exampletest"
	"github.com/stephost/stephost/plugin/sdk/sdktest"
)

func nothing(context.Context, struct{}) (any, error) { return nil, nil }

// The whole main function of a plugin without configuration.
func ExampleMain() {
	sdk.Main(sdk.Handle("charge", charge))
}

func ExampleNew() {
	plugin := sdk.New(
		sdk.Name("payments"),
		sdk.Version("v1.4.0"),
		sdk.MaxConcurrency(8), // the gateway's limit
		sdk.Handle("charge", charge),
		sdk.Handle("refund", nothing, sdk.Timeout(time.Minute)),
	)
	deliver(plugin, "charge", `{"OrderID": "17"}`)
	// Output:
	// [INFO]  charging: attempt=1 message_id=1 namespace=test step=charge order=17
	// completed: {"ID":"r-17"}
}

func ExampleMaxConcurrency() {
	// One step at a time; what waits when the host drains is given back.
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.Start(t, sdk.New(sdk.MaxConcurrency(1), sdk.Handle("wait", untilStopped)))
		first, second := h.Go("wait", `{}`), h.Go("wait", `{}`)
		h.Drain()
		fmt.Println(second.Wait())
		first.Cancel(sdk.ErrDraining)
		fmt.Println(first.Wait())
	})
	// Output:
	// not accepted: plugin is draining
	// snooze for 0s
}

// untilStopped waits for the end of its step and says what it makes of the
// reason.
func untilStopped(ctx context.Context, _ struct{}) (any, error) {
	<-ctx.Done()
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, sdk.ErrTimeout):
		return nil, sdk.RetryAfter(cause, time.Hour) // it will not be faster soon
	case errors.Is(cause, sdk.ErrLeaseLost):
		return nil, cause // void anyhow
	case errors.Is(cause, sdk.ErrDraining):
		return nil, sdk.Snooze(0) // another host may go on at once
	default: // sdk.ErrCancelled
		return nil, sdk.Permanent(cause)
	}
}

// A handler learns why it has to stop.
func Example_cancellation() {
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.Start(t, sdk.New(sdk.Handle("wait", untilStopped)))
		for _, cause := range []error{sdk.ErrTimeout, sdk.ErrLeaseLost, sdk.ErrDraining, sdk.ErrCancelled} {
			s := h.Go("wait", `{}`)
			s.Cancel(cause)
			fmt.Println(s.Wait())
		}
	})
	// Output:
	// retry after 1h0m0s: step timed out (timeout)
	// given back: lease on the message was lost (cancelled)
	// snooze for 0s
	// permanent: step was cancelled (cancelled)
}

// Middleware finds the verdict in an error.
func Example_verdictsInMiddleware() {
	counted := func(next sdk.Next) sdk.Next {
		return func(ctx context.Context, in []byte) ([]byte, error) {
			out, err := next(ctx, in)
			var later *sdk.RetryAfterError
			var snoozed *sdk.SnoozeError
			switch {
			case errors.Is(err, &sdk.PermanentError{}):
				fmt.Println("given up")
			case errors.As(err, &later):
				fmt.Println("again in", later.Delay)
			case errors.As(err, &snoozed):
				fmt.Println("rests for", snoozed.Delay)
			}
			return out, err
		}
	}
	plugin := sdk.New(sdk.Use(counted), sdk.Handle("charge", func(context.Context, struct{}) (any, error) {
		return nil, fmt.Errorf("charge: %w", sdk.RetryAfter(errors.New("gateway is busy"), time.Minute))
	}))
	deliver(plugin, "charge", `{}`)
	// Output:
	// again in 1m0s
	// retry after 1m0s: charge: gateway is busy (error)
}

func ExampleDelay() {
	remind := func(ctx context.Context, in Charge) (any, error) {
		return nil, sdk.Emit(ctx, sdk.ToNamespace("reminders"), in, sdk.Delay(24*time.Hour))
	}
	deliver(sdk.New(sdk.Handle("remind", remind)), "remind", `{"OrderID": "17"}`)
	// Output:
	// completed: null
	// emitted to namespace reminders: {"OrderID":"17"} in 24h0m0s
}

func ExampleHeaders() {
	trace := func(ctx context.Context, in Charge) (any, error) {
		return nil, sdk.Emit(ctx, sdk.ToQueue("audit"), in, sdk.Headers(map[string]any{"trace": "t-1"}))
	}
	deliver(sdk.New(sdk.Handle("trace", trace)), "trace", `{"OrderID": "17"}`)
	// Output:
	// completed: null
	// emitted to queue audit: {"OrderID":"17"} with headers {"trace":"t-1"}
}

func ExampleTarget() {
	fmt.Println(sdk.ToNamespace("shipping"))
	fmt.Println(sdk.ToQueue("shipping"))
	fmt.Println(sdk.ToQueue("shipping") == sdk.ToNamespace("shipping"))
	// Output:
	// namespace shipping
	// queue shipping
	// false
}

func ExampleNewServer() {
	// A server of your own, instead of go-plugin's.
	server := sdk.NewServer(sdk.New(sdk.Handle("charge", charge)), hclog.NewNullLogger())
	onGRPC := grpc.NewServer()
	server.Register(onGRPC)
	for name := range onGRPC.GetServiceInfo() {
		fmt.Println(name)
	}
	fmt.Println(server.Close())
	// Output:
	// stephost.plugin.v1.PluginService
	// <nil>
}

func ExampleNewServerWith() {
	server := sdk.NewServerWith(setup, hclog.NewNullLogger())
	fmt.Println(server.Close())
	// Output: <nil>
}
