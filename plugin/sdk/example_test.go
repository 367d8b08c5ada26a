package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/stephost/stephost/plugin/sdk"
)

func ExampleHandle() {
	type numbers struct{ A, B int }
	plugin := sdk.New(sdk.Handle("add", func(_ context.Context, in numbers) (int, error) {
		return in.A + in.B, nil
	}))
	deliver(plugin, "add", `{"A": 1, "B": 2}`)
	deliver(plugin, "add", `{"A": "one"}`)
	// Output:
	// completed: 3
	// permanent: decode message: field "A" (offset 11): cannot read string as int (bad_input)
}

func ExampleHandleRaw() {
	plugin := sdk.New(sdk.HandleRaw("upper", func(_ context.Context, in []byte) ([]byte, error) {
		return bytes.ToUpper(in), nil
	}))
	deliver(plugin, "upper", `{"any": "shape"}`)
	// Output:
	// completed: {"ANY": "SHAPE"}
}

func ExampleDefault() {
	say := func(word string) func(context.Context, struct{}) (string, error) {
		return func(context.Context, struct{}) (string, error) { return word, nil }
	}
	plugin := sdk.New(
		sdk.Handle("validate", say("validated"), sdk.Default()),
		sdk.Handle("charge", say("charged")),
	)
	deliver(plugin, "charge", `{}`)
	deliver(plugin, "", `{}`) // a message that names no step
	// Output:
	// completed: "charged"
	// completed: "validated"
}

func ExampleTimeout() {
	plugin := sdk.New(sdk.Handle("slow", func(ctx context.Context, _ struct{}) (string, error) {
		select {
		case <-time.After(time.Hour):
			return "done", nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}, sdk.Timeout(10*time.Millisecond)))
	deliver(plugin, "slow", `{}`)
	// Output:
	// retry: step timed out (timeout)
}

func ExampleUse() {
	logged := func(next sdk.Next) sdk.Next {
		return func(ctx context.Context, in []byte) ([]byte, error) {
			out, err := next(ctx, in)
			fmt.Printf("%s: %s in, %s out\n", sdk.StepInfo(ctx).Step, in, out)
			return out, err
		}
	}
	type number struct{ N int }
	double := func(_ context.Context, in number) (number, error) { return number{2 * in.N}, nil }
	deliver(sdk.New(sdk.Use(logged), sdk.Handle("double", double)), "double", `{"N": 21}`)
	// Output:
	// double: {"N": 21} in, {"N":42} out
	// completed: {"N":42}
}

func ExampleOnClose() {
	plugin := sdk.New(
		sdk.Handle("work", func(context.Context, struct{}) (string, error) { return "worked", nil }),
		sdk.OnClose(func() error { fmt.Println("close the database"); return nil }),
		sdk.OnClose(func() error { fmt.Println("flush what uses it"); return nil }),
	)
	deliver(plugin, "work", `{}`)
	// Output:
	// completed: "worked"
	// flush what uses it
	// close the database
}

func ExamplePermanent() {
	plugin := sdk.New(sdk.Handle("charge", func(context.Context, struct{}) (any, error) {
		err := sdk.Permanent(errors.New("card is blocked"))
		return nil, fmt.Errorf("charge: %w", err)
	}))
	deliver(plugin, "charge", `{}`)
	// Output:
	// permanent: charge: card is blocked (error)
}

func ExampleRetryAfter() {
	plugin := sdk.New(sdk.Handle("charge", func(context.Context, struct{}) (any, error) {
		return nil, sdk.RetryAfter(errors.New("gateway asks for patience"), 30*time.Second)
	}))
	deliver(plugin, "charge", `{}`)
	// Output:
	// retry after 30s: gateway asks for patience (error)
}

func ExampleSnooze() {
	plugin := sdk.New(sdk.Handle("ship", func(context.Context, struct{}) (any, error) {
		return nil, sdk.Snooze(time.Minute) // the parcel is not packed yet
	}))
	deliver(plugin, "ship", `{}`)
	// Output:
	// snooze for 1m0s
}

func ExampleEmit() {
	type order struct {
		Step string `json:"step"`
		ID   string `json:"id"`
	}
	plugin := sdk.New(sdk.Handle("charge", func(ctx context.Context, in order) (string, error) {
		next := order{Step: "ship", ID: in.ID}
		if err := sdk.Emit(ctx, sdk.ToNamespace("shipping"), next); err != nil {
			return "", err
		}
		err := sdk.Emit(ctx, sdk.ToQueue("reminders"), in,
			sdk.Delay(time.Hour), sdk.Headers(map[string]any{"trace": "t-1"}))
		return "charged", err
	}))
	deliver(plugin, "charge", `{"step": "charge", "id": "17"}`)
	// Output:
	// completed: "charged"
	// emitted to namespace shipping: {"step":"ship","id":"17"}
	// emitted to queue reminders: {"step":"charge","id":"17"} with headers {"trace":"t-1"} in 1h0m0s
}

func ExampleStepInfo() {
	plugin := sdk.New(sdk.Handle("charge", func(ctx context.Context, _ struct{}) (string, error) {
		info := sdk.StepInfo(ctx)
		fmt.Printf("%s %s, attempt %d, for %s\n", info.Namespace, info.Step, info.Attempt, info.CorrelationID)
		return "message " + info.Queue + "/" + strconv.FormatInt(info.MessageID, 10), nil
	}))
	deliver(plugin, "charge", `{"correlation_id": "order-17"}`)
	// Output:
	// test charge, attempt 1, for order-17
	// completed: "message test_queue/1"
}

func ExampleLogger() {
	plugin := sdk.New(sdk.Handle("charge", func(ctx context.Context, _ struct{}) (any, error) {
		sdk.Logger(ctx).Warn("gateway is slow", "seconds", 3)
		return nil, nil
	}))
	deliver(plugin, "charge", `{}`)
	// Output:
	// [WARN]  gateway is slow: attempt=1 message_id=1 namespace=test step=charge seconds=3
	// completed: null
}

func ExampleSlog() {
	plugin := sdk.New(sdk.Handle("charge", func(ctx context.Context, _ struct{}) (any, error) {
		sdk.Slog(ctx).WithGroup("gateway").WarnContext(ctx, "slow", "seconds", 3)
		return nil, nil
	}))
	deliver(plugin, "charge", `{}`)
	// Output:
	// [WARN]  slow: attempt=1 message_id=1 namespace=test step=charge gateway.seconds=3
	// completed: null
}

func ExampleHeartbeat() {
	type upload struct{ Rows []string }
	plugin := sdk.New(sdk.Handle("import", func(ctx context.Context, in upload) (int, error) {
		for i, row := range in.Rows {
			progress := sdk.Progress{Fraction: float64(i) / float64(len(in.Rows)), Message: "row " + row}
			if err := sdk.Heartbeat(ctx, progress); err != nil {
				return i, err // cancelled: stop here
			}
		}
		return len(in.Rows), nil
	}))
	deliver(plugin, "import", `{"Rows": ["a", "b"]}`)
	// Output:
	// completed: 2
}

// Config is a plugin's config block:
//
//	config {
//	  endpoint = "https://gateway.example"
//	  api_key  = env("GATEWAY_KEY")
//	  region "eu" {
//	    currency = "EUR"
//	  }
//	}
type Config struct {
	Endpoint string            `hcl:"endpoint"`
	Timeout  time.Duration     `hcl:"timeout,optional" default:"5s"`
	APIKey   sdk.Secret        `hcl:"api_key"`
	Regions  map[string]Region `hcl:"region,block"`
}

// Region is a nested block.
type Region struct {
	Currency string `hcl:"currency"`
}

func setup(_ context.Context, cfg Config) (*sdk.Plugin, error) {
	if cfg.Endpoint == "" {
		return nil, sdk.FieldError("endpoint", errors.New("must not be empty"))
	}
	for name, region := range cfg.Regions {
		if len(region.Currency) != 3 {
			return nil, sdk.FieldError(fmt.Sprintf("region[%q].currency", name), errors.New("must have three letters"))
		}
	}
	return sdk.New(sdk.Handle("show", func(context.Context, struct{}) (Config, error) { return cfg, nil })), nil
}

// The main function of a plugin that is made from its configuration.
func ExampleMainWith() {
	sdk.MainWith(setup)
}

// What the user writes, and what setup gets.
func ExampleMainWith_config() {
	configure(setup, `
endpoint = "https://gateway.example"
api_key  = "s3cr3t"
region "eu" {
  currency = "EUR"
}`, "show", `{}`)
	// Output:
	// completed: {"Endpoint":"https://gateway.example","Timeout":5000000000,"APIKey":"(redacted)","Regions":{"eu":{"Currency":"EUR"}}}
}

// What does not fit the types never reaches setup. The host shows all of it at
// once.
func ExampleMainWith_wrong() {
	refuse(setup, `
timeout = "soon"
api_key = "s3cr3t"
region "eu" {
  currncy = "EUR"
}`)
	// Output:
	// Error: Missing required argument
	//   on config.hcl:1,1
	//    1 | config {
	//      | ^^^^^^
	//   The plugin needs a value for "endpoint".
	//
	// Error: Invalid value for "timeout"
	//   on config.hcl:2,11
	//    2 | timeout = "soon"
	//      |           ^^^^^^
	//   Use a duration: a number and a unit, such as "500ms", "30s", "5m" or "1h30m".
	//
	// Error: Missing required argument
	//   on config.hcl:4,1
	//    4 | region "eu" {
	//      | ^^^^^^^^^^^
	//   The plugin needs a value for "currency".
	//
	// Error: Unsupported argument
	//   on config.hcl:5,3
	//    5 |   currncy = "EUR"
	//      |   ^^^^^^^
	//   An argument named "currncy" is not expected here. Did you mean "currency"?
}

func ExampleFieldError() {
	refuse(setup, `
endpoint = "https://gateway.example"
api_key  = "s3cr3t"
region "eu" {
  currency = "EURO"
}`)
	// Output:
	// Error: Plugin rejects a value
	//   on config.hcl:5,14
	//    5 |   currency = "EURO"
	//      |              ^^^^^^
	//   must have three letters
}

func ExampleSecret() {
	key := sdk.NewSecret("s3cr3t")
	encoded, err := json.Marshal(map[string]sdk.Secret{"key": key})
	fmt.Println(key, string(encoded), err)
	fmt.Printf("%+v %q\n", key, key)
	fmt.Println(key.Reveal())
	// Output:
	// (redacted) {"key":"(redacted)"} <nil>
	// (redacted) (redacted)
	// s3cr3t
}
