package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	// success: 3
	// bad_input: decode message: field "A" (offset 11): cannot read string as int (permanent)
}

func ExampleHandleRaw() {
	plugin := sdk.New(sdk.HandleRaw("upper", func(_ context.Context, in []byte) ([]byte, error) {
		return bytes.ToUpper(in), nil
	}))
	deliver(plugin, "upper", `{"any": "shape"}`)
	// Output:
	// success: {"ANY": "SHAPE"}
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
	// success: "charged"
	// success: "validated"
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
	// timeout: step timed out
}

func ExampleUse() {
	logged := func(next sdk.Next) sdk.Next {
		return func(ctx context.Context, in []byte) ([]byte, error) {
			out, err := next(ctx, in)
			fmt.Printf("%s: %s in, %s out\n", sdk.StepInfo(ctx).Step, in, out)
			return out, err
		}
	}
	double := func(_ context.Context, n int) (int, error) { return 2 * n, nil }
	deliver(sdk.New(sdk.Use(logged), sdk.Handle("double", double)), "double", `21`)
	// Output:
	// double: 21 in, 42 out
	// success: 42
}

func ExampleOnClose() {
	plugin := sdk.New(
		sdk.Handle("work", func(context.Context, struct{}) (string, error) { return "worked", nil }),
		sdk.OnClose(func() error { fmt.Println("close the database"); return nil }),
		sdk.OnClose(func() error { fmt.Println("flush what uses it"); return nil }),
	)
	deliver(plugin, "work", `{}`)
	// Output:
	// success: "worked"
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
	// error: charge: card is blocked (permanent)
}

func ExampleRetryAfter() {
	plugin := sdk.New(sdk.Handle("charge", func(context.Context, struct{}) (any, error) {
		return nil, sdk.RetryAfter(errors.New("gateway asks for patience"), 30*time.Second)
	}))
	deliver(plugin, "charge", `{}`)
	// Output:
	// error: gateway asks for patience (retry after 30000 ms)
}

func ExampleSnooze() {
	plugin := sdk.New(sdk.Handle("ship", func(context.Context, struct{}) (any, error) {
		return nil, sdk.Snooze(time.Minute) // the parcel is not packed yet
	}))
	deliver(plugin, "ship", `{}`)
	// Output:
	// snoozed for 60000 ms
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
	// success: "charged"
	// emitted to shipping: {"step":"ship","id":"17"}
	// emitted to reminders: {"step":"charge","id":"17"} with headers {"trace":"t-1"} in 3600000 ms
}

func ExampleStepInfo() {
	plugin := sdk.New(sdk.Handle("charge", func(ctx context.Context, _ struct{}) (string, error) {
		info := sdk.StepInfo(ctx)
		fmt.Printf("%s %s, attempt %d\n", info.Namespace, info.Step, info.Attempt)
		return "charged once with key " + info.IdempotencyKey, nil
	}))
	deliver(plugin, "charge", `{}`)
	// Output:
	// payments charge, attempt 2
	// success: "charged once with key payments_queue/17"
}

func ExampleLogger() {
	plugin := sdk.New(sdk.Handle("charge", func(ctx context.Context, _ struct{}) (any, error) {
		sdk.Logger(ctx).Warn("gateway is slow", "seconds", 3)
		return nil, nil
	}))
	deliverLogging(plugin, "charge", `{}`)
	// Output:
	// [WARN]  gateway is slow: attempt=2 message_id=17 namespace=payments step=charge seconds=3
	// success: null
}

func ExampleSlog() {
	plugin := sdk.New(sdk.Handle("charge", func(ctx context.Context, _ struct{}) (any, error) {
		sdk.Slog(ctx).WithGroup("gateway").WarnContext(ctx, "slow", "seconds", 3)
		return nil, nil
	}))
	deliverLogging(plugin, "charge", `{}`)
	// Output:
	// [WARN]  slow: attempt=2 message_id=17 namespace=payments step=charge gateway.seconds=3
	// success: null
}

func ExampleHeartbeat() {
	plugin := sdk.New(sdk.Handle("import", func(ctx context.Context, rows []string) (int, error) {
		for i := range rows {
			progress := sdk.Progress{Fraction: float64(i) / float64(len(rows)), Message: "importing"}
			if err := sdk.Heartbeat(ctx, progress); err != nil {
				return i, err // cancelled: stop here
			}
		}
		return len(rows), nil
	}))
	deliver(plugin, "import", `["a", "b"]`)
	// Output:
	// success: 2
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

func ExampleMainWith() {
	// func main() { sdk.MainWith(setup) }
	configure(setup, `{"endpoint": "https://gateway.example", "api_key": "s3cr3t", "region": {"eu": {"currency": "EUR"}}}`,
		"show", `{}`)
	configure(setup, `{"timeout": "soon", "api_key": "s3cr3t"}`, "show", `{}`)
	// Output:
	// success: {"Endpoint":"https://gateway.example","Timeout":5000000000,"APIKey":"(redacted)","Regions":{"eu":{"Currency":"EUR"}}}
	// endpoint: endpoint is required
	// timeout: must be a duration like "30s" or "1m30s", not "soon"
}

func ExampleFieldError() {
	configure(setup, `{"endpoint": "x", "api_key": "k", "region": {"eu": {"currency": "EURO"}}}`, "show", `{}`)
	// Output:
	// region["eu"].currency: must have three letters
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
