package sdktest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/internal/exampletest"
	"github.com/stephost/stephost/plugin/sdk/sdktest"
)

// The plugin under test charges orders.

type Charge struct {
	OrderID string
	Cents   int
}

type Receipt struct{ ID, Amount string }

type Ship struct{ OrderID string }

type Config struct {
	Currency string        `hcl:"currency"`
	Patience time.Duration `hcl:"patience" default:"30s"`
}

func setup(_ context.Context, cfg Config) (*sdk.Plugin, error) {
	if len(cfg.Currency) != 3 {
		return nil, sdk.FieldError("currency", fmt.Errorf("%q is not a currency", cfg.Currency))
	}
	charge := func(ctx context.Context, in Charge) (Receipt, error) {
		switch {
		case in.Cents <= 0:
			return Receipt{}, sdk.Permanent(errors.New("nothing to charge"))
		case in.Cents > 100_00 && sdk.StepInfo(ctx).Attempt == 1:
			return Receipt{}, sdk.RetryAfter(errors.New("gateway is busy"), cfg.Patience)
		}
		sdk.Logger(ctx).Info("charging", "order", in.OrderID)
		receipt := Receipt{ID: "r-" + in.OrderID, Amount: fmt.Sprintf("%d.%02d %s", in.Cents/100, in.Cents%100, cfg.Currency)}
		return receipt, sdk.Emit(ctx, sdk.ToNamespace("shipping"), Ship{OrderID: in.OrderID})
	}
	return sdk.New(sdk.Handle("charge", charge)), nil
}

// In a test t is the *testing.T; here it prints what would be logged.
func Example() {
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.StartWith(t, setup, sdktest.Config(`currency = "EUR"`))

		receipt, err := sdktest.Call[Receipt](h, "charge", Charge{OrderID: "17", Cents: 19_99})
		fmt.Println(receipt, err)

		r := h.Run("charge", Charge{OrderID: "18"})
		fmt.Println(r)
	})
	// Output:
	// [INFO]  charging: attempt=1 message_id=1 namespace=test step=charge order=17
	// {r-17 19.99 EUR} <nil>
	// permanent: nothing to charge (error)
}

func ExampleStart() {
	exampletest.Run(func(t *exampletest.T) {
		greet := func(_ context.Context, in struct{ Name string }) (string, error) { return "hello " + in.Name, nil }
		h := sdktest.Start(t, sdk.New(sdk.Handle("greet", greet)))
		fmt.Println(h.Run("greet", `{"Name": "world"}`))
	})
	// Output: completed: "hello world"
}

func ExampleStartWith() {
	exampletest.Run(func(t *exampletest.T) {
		sdktest.StartWith(t, setup, sdktest.Config(`currency = "EUR"
patience = "soon"`))
	})
	// Output:
	// FAIL: the plugin does not start:
	// Error: Invalid value for "patience"
	//   on config.hcl:3,12
	//    3 | patience = "soon"
	//      |            ^^^^^^
	//   Use a duration: a number and a unit, such as "500ms", "30s", "5m" or "1h30m".
}

func ExampleConfigError() {
	exampletest.Run(func(t *exampletest.T) {
		fmt.Print(sdktest.ConfigError(t, setup, sdktest.Config(`
  patience = "1m"
  currency = env("CURRENCY")
`), sdktest.Env(map[string]string{"CURRENCY": "EURO"})))
	})
	// Output:
	// Error: Plugin rejects a value
	//   on config.hcl:3,14
	//    3 |   currency = env("CURRENCY")
	//      |              ^^^^^^^^^^^^^^^
	//   "EURO" is not a currency
}

func ExampleCall() {
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.StartWith(t, setup, sdktest.Config(`currency = "EUR"`))
		_, err := sdktest.Call[Receipt](h, "charge", Charge{OrderID: "17", Cents: 200_00})
		var later *sdk.RetryAfterError
		fmt.Println(err, errors.As(err, &later), later.Delay)
	})
	// Output: gateway is busy true 30s
}

func ExampleHost_Run() {
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.StartWith(t, setup, sdktest.Config(`currency = "EUR"`))
		large := Charge{OrderID: "17", Cents: 200_00}
		fmt.Println(h.Run("charge", large))
		fmt.Println(h.Run("charge", large, sdktest.Attempt(2)))
	})
	// Output:
	// retry after 30s: gateway is busy (error)
	// [INFO]  charging: attempt=2 message_id=2 namespace=test step=charge order=17
	// completed: {"ID":"r-17","Amount":"200.00 EUR"}
	// emitted to namespace shipping: {"OrderID":"17"}
}

func ExampleResult_Require() {
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.StartWith(t, setup, sdktest.Config(`currency = "EUR"`))
		r := h.Run("charge", Charge{OrderID: "17", Cents: 200_00}).Require(sdktest.RetryAfter)
		fmt.Println(r.Delay, r.Failure)
		h.Run("charge", Charge{OrderID: "17"}).Require(sdktest.Completed)
	})
	// Output:
	// 30s gateway is busy
	// FAIL: step "charge": want the verdict "completed", got
	// permanent: nothing to charge (error)
}

func ExampleEmitted() {
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.StartWith(t, setup, sdktest.Config(`currency = "EUR"`))
		r := h.Run("charge", Charge{OrderID: "17", Cents: 1})
		fmt.Println(sdktest.Emitted[Ship](r, sdk.ToNamespace("shipping")))
	})
	// Output:
	// [INFO]  charging: attempt=1 message_id=1 namespace=test step=charge order=17
	// [{17}]
}

func ExampleInfo() {
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.Start(t, sdk.New(sdk.Handle("who", func(ctx context.Context, _ struct{}) (string, error) {
			info := sdk.StepInfo(ctx)
			return fmt.Sprint(info.Namespace, " ", info.Queue, " ", info.MessageID, " ", info.CorrelationID), nil
		})))
		fmt.Println(h.Run("who", `{"correlation_id": "order-17"}`, sdktest.Info(sdk.Info{Namespace: "payments", MessageID: 42})))
	})
	// Output: completed: "payments payments_queue 42 order-17"
}

// importing reports progress and stops when it is asked to.
func importing(ctx context.Context, in struct{ Rows int }) (any, error) {
	for i := range in.Rows {
		progress := sdk.Progress{Fraction: float64(i) / float64(in.Rows), Message: fmt.Sprintf("row %d", i)}
		if err := sdk.Heartbeat(ctx, progress); err != nil {
			return nil, fmt.Errorf("stopped: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Hour): // a slow row
		}
	}
	return in.Rows, nil
}

func ExampleHost_Go() {
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.Start(t, sdk.New(sdk.Handle("import", importing)))
		s := h.Go("import", `{"Rows": 10}`)
		fmt.Println(s.Heartbeat().Message)
		s.Cancel(sdk.ErrLeaseLost)
		fmt.Println(s.Wait().Require(sdktest.GivenBack))
	})
	// Output:
	// row 0
	// given back: stopped: lease on the message was lost (cancelled)
}

func ExampleHost_Drain() {
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.Start(t, sdk.New(sdk.Handle("import", importing), sdk.MaxConcurrency(1)))
		running, queued := h.Go("import", `{"Rows": 1}`), h.Go("import", `{"Rows": 2}`)
		running.Heartbeat() // it is in the middle of a row
		h.Drain()
		fmt.Println(queued.Wait())
		running.Cancel(sdk.ErrDraining) // drain_timeout is over
		fmt.Println(running.Wait().Verdict)
	})
	// Output:
	// not accepted: plugin is draining
	// completed
}

func ExampleHost_Stop() {
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.Start(t, sdk.New(
			sdk.Handle("import", importing),
			sdk.OnClose(func() error { return errors.New("disk is full") }),
		))
		fmt.Println(h.Stop())
	})
	// Output: disk is full
}

func ExampleTimeout() {
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.Start(t, sdk.New(sdk.Handle("import", importing)))
		r := h.Run("import", `{"Rows": 10}`, sdktest.Timeout(time.Millisecond)).Require(sdktest.Retry)
		fmt.Println(r)
	})
	// Output: retry: stopped: step timed out (timeout)
}

func ExampleVerdict() {
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.Start(t, sdk.New(sdk.Handle("ship", func(ctx context.Context, in Ship) (any, error) {
			switch in.OrderID {
			case "lost":
				return nil, sdk.Permanent(errors.New("no such order"))
			case "new":
				return nil, sdk.Snooze(time.Hour)
			case "heavy":
				return nil, errors.New("the van is full")
			}
			return "shipped", nil
		})))
		for order, verdict := range map[string]sdktest.Verdict{
			"17": sdktest.Completed, "lost": sdktest.Permanent, "new": sdktest.Snooze, "heavy": sdktest.Retry,
		} {
			h.Run("ship", Ship{OrderID: order}).Require(verdict)
		}
	})
	// Output:
}

func ExampleResult_Err() {
	exampletest.Run(func(t *exampletest.T) {
		h := sdktest.Start(t, sdk.New(sdk.Handle("import", importing), sdk.MaxConcurrency(1)))
		h.Go("import", `{"Rows": 1}`)
		queued := h.Go("import", `{"Rows": 2}`)
		h.Drain()
		r := queued.Wait().Require(sdktest.NotAccepted)
		fmt.Println(r.Err(), errors.Is(r.Err(), sdktest.ErrNotAccepted))
	})
	// Output: step was not accepted: plugin is draining true
}
