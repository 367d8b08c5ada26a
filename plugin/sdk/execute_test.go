package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
)

type pair struct {
	A int `json:"a"`
	B int `json:"b"`
}

func add(_ context.Context, in pair) (int, error) { return in.A + in.B, nil }

func noop(context.Context, []byte) ([]byte, error) { return nil, nil }

// failing returns a handler that ends with err.
func failing(err error) func(context.Context, []byte) ([]byte, error) {
	return func(context.Context, []byte) ([]byte, error) { return nil, err }
}

func TestOutcomes(t *testing.T) {
	t.Parallel()

	const (
		policy    = pluginv1.FailureVerdict_FAILURE_VERDICT_UNSPECIFIED
		permanent = pluginv1.FailureVerdict_FAILURE_VERDICT_PERMANENT
		after     = pluginv1.FailureVerdict_FAILURE_VERDICT_RETRY_AFTER
	)
	boom := errors.New("boom")
	var nobody *pair

	for name, tc := range map[string]struct {
		handler sdk.Option
		input   string

		output  string
		failure *pluginv1.Failure // stack and message are compared as substrings
		snooze  time.Duration
	}{
		"typed": {
			handler: sdk.Handle("s", add), input: `{"a":1,"b":2,"step":"s"}`, output: "3",
		},
		"typed returning nothing": {
			handler: sdk.Handle("s", func(context.Context, pair) (any, error) { return nil, nil }), input: `{}`, output: "null",
		},
		"raw": {
			handler: sdk.HandleRaw("s", func(_ context.Context, in []byte) ([]byte, error) { return in, nil }),
			input:   ` {"any": "shape"} `, output: ` {"any": "shape"} `,
		},
		"raw returning nothing": {
			handler: sdk.HandleRaw("s", noop), input: `1`, output: "",
		},
		"error": {
			handler: sdk.HandleRaw("s", failing(fmt.Errorf("charge: %w", boom))), input: `1`,
			failure: &pluginv1.Failure{Message: "charge: boom", Type: "error", Verdict: policy},
		},
		"error with a type": {
			handler: sdk.HandleRaw("s", failing(fmt.Errorf("charge: %w", &url.Error{Op: "Get", URL: "x", Err: boom}))), input: `1`,
			failure: &pluginv1.Failure{Message: `charge: Get "x": boom`, Type: "*url.Error", Verdict: policy},
		},
		"permanent": {
			handler: sdk.HandleRaw("s", failing(fmt.Errorf("charge: %w", sdk.Permanent(boom)))), input: `1`,
			failure: &pluginv1.Failure{Message: "charge: boom", Type: "error", Verdict: permanent},
		},
		"retry after": {
			handler: sdk.HandleRaw("s", failing(fmt.Errorf("charge: %w", sdk.RetryAfter(boom, 1500*time.Microsecond)))), input: `1`,
			failure: &pluginv1.Failure{Message: "charge: boom", Type: "error", Verdict: after, RetryAfterMs: 2},
		},
		"snooze": {
			handler: sdk.HandleRaw("s", failing(fmt.Errorf("closed: %w", sdk.Snooze(3*time.Second)))), input: `1`,
			snooze: 3 * time.Second,
		},
		"panic": {
			handler: sdk.HandleRaw("s", func(context.Context, []byte) ([]byte, error) { panic("kaboom") }), input: `1`,
			failure: &pluginv1.Failure{Message: "panic: kaboom", Type: protocol.FailurePanic, Stack: "execute_test.go"},
		},
		"nil pointer": {
			handler: sdk.Handle("s", func(context.Context, pair) (int, error) { return nobody.A, nil }), input: `{}`,
			failure: &pluginv1.Failure{Message: "nil pointer dereference", Type: protocol.FailurePanic, Stack: "execute_test.go"},
		},
		"panic with nil": {
			handler: sdk.HandleRaw("s", func(context.Context, []byte) ([]byte, error) { panic(nil) }), input: `1`,
			failure: &pluginv1.Failure{Message: "panic called with nil argument", Type: protocol.FailurePanic},
		},
		"goexit": {
			handler: sdk.HandleRaw("s", func(context.Context, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil }), input: `1`,
			failure: &pluginv1.Failure{Message: "runtime.Goexit", Type: protocol.FailurePanic, Stack: "execute_test.go"},
		},
		"field of the wrong type": {
			handler: sdk.Handle("s", add), input: `{"a":"one"}`,
			failure: &pluginv1.Failure{
				Message: `field "a" (offset 10): cannot read string as int`,
				Type:    protocol.FailureBadInput, Verdict: permanent,
			},
		},
		"message of the wrong type": {
			handler: sdk.Handle("s", add), input: `[1]`,
			failure: &pluginv1.Failure{
				Message: "cannot read array as sdk_test.pair",
				Type:    protocol.FailureBadInput, Verdict: permanent,
			},
		},
		"message that is not JSON": {
			handler: sdk.Handle("s", add), input: `{"a":`,
			failure: &pluginv1.Failure{Message: "offset 5", Type: protocol.FailureBadInput, Verdict: permanent},
		},
		"result that cannot be encoded": {
			handler: sdk.Handle("s", func(context.Context, pair) (any, error) { return make(chan int), nil }), input: `{}`,
			failure: &pluginv1.Failure{Message: "encode result: json: unsupported type: chan int", Type: protocol.FailureBadOutput},
		},
		"raw result that is not JSON": {
			handler: sdk.HandleRaw("s", func(context.Context, []byte) ([]byte, error) { return []byte("oops"), nil }), input: `1`,
			failure: &pluginv1.Failure{Message: "not JSON", Type: protocol.FailureBadOutput},
		},
		"texts that do not travel": {
			handler: sdk.HandleRaw("s", failing(errors.New("a\xffb\x00c"))), input: `1`,
			failure: &pluginv1.Failure{Message: "a\uFFFDb\uFFFDc", Type: "error"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			before := time.Now()
			r := startHost(t, tc.handler).callStep("s", tc.input)
			require.EqualValues(t, 1, r.GetId())
			require.WithinRange(t, time.UnixMicro(r.GetStartedAtUs()), before.Truncate(time.Microsecond), time.Now())
			require.GreaterOrEqual(t, r.GetDurationUs(), int64(0))

			switch {
			case tc.failure != nil:
				f := r.GetFailure()
				require.NotNil(t, f, "got %v", r)
				require.Contains(t, f.GetMessage(), tc.failure.GetMessage())
				require.Contains(t, f.GetStack(), tc.failure.GetStack())
				require.Equal(t, tc.failure.GetType(), f.GetType())
				require.Equal(t, tc.failure.GetVerdict(), f.GetVerdict())
				require.Equal(t, tc.failure.GetRetryAfterMs(), f.GetRetryAfterMs())
			case tc.snooze > 0:
				require.NotNil(t, r.GetSnooze(), "got %v", r)
				require.Equal(t, tc.snooze.Milliseconds(), r.GetSnooze().GetDelayMs())
			default:
				require.NotNil(t, r.GetSuccess(), "got %v", r)
				require.Equal(t, tc.output, string(r.GetSuccess().GetOutput()))
			}
		})
	}
}

func TestLongErrorIsCut(t *testing.T) {
	t.Parallel()

	h := startHost(t, sdk.HandleRaw("s", failing(errors.New(strings.Repeat("é", 1<<20)))))
	message := h.callStep("s", "1").GetFailure().GetMessage()
	require.Less(t, len(message), 20<<10)
	require.Empty(t, strings.Trim(message, "é"), "cut within a character")
}

func TestStepNames(t *testing.T) {
	t.Parallel()

	t.Run("the only handler is the default", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, sdk.Handle("sum", add))
		require.Equal(t, "3", string(h.callStep("", `{"a":1,"b":2}`).GetSuccess().GetOutput()))
	})
	t.Run("several without a default", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, sdk.Handle("sum", add), sdk.HandleRaw("noop", noop))
		f := h.callStep("", `{}`).GetFailure()
		require.Equal(t, protocol.FailureUnknownStep, f.GetType())
		require.Equal(t, pluginv1.FailureVerdict_FAILURE_VERDICT_UNSPECIFIED, f.GetVerdict())
	})
	t.Run("unknown", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, sdk.Handle("sum", add))
		f := h.callStep("product", `{}`).GetFailure()
		require.Equal(t, protocol.FailureUnknownStep, f.GetType())
		require.Contains(t, f.GetMessage(), `"product"`)
	})
}

func TestDescribe(t *testing.T) {
	t.Parallel()

	h := startHost(t,
		sdk.Name("calculator"), sdk.Version("1.2.3"), sdk.MaxConcurrency(7),
		sdk.HandleRaw("b", noop), sdk.HandleRaw("a", noop, sdk.Default()))
	got, err := h.client.Describe(h.ctx(), &pluginv1.DescribeRequest{})
	require.NoError(t, err)
	require.Equal(t, "calculator", got.GetName())
	require.Equal(t, "1.2.3", got.GetVersion())
	require.EqualValues(t, 7, got.GetMaxConcurrency())
	require.Nil(t, got.GetConfig())
	require.Len(t, got.GetSteps(), 2)
	require.Equal(t, "a", got.GetSteps()[0].GetName())
	require.True(t, got.GetSteps()[0].GetDefault())
	require.Equal(t, "b", got.GetSteps()[1].GetName())
	require.False(t, got.GetSteps()[1].GetDefault())
	require.ElementsMatch(t, []pluginv1.Capability{
		pluginv1.Capability_CAPABILITY_CANCEL,
		pluginv1.Capability_CAPABILITY_HEARTBEAT,
		pluginv1.Capability_CAPABILITY_EMIT,
	}, got.GetCapabilities())

	health, err := h.client.Health.Check(h.ctx(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, health.GetStatus())
}

func TestExecuteNeedsConfigure(t *testing.T) {
	t.Parallel()

	h := startHostWith(t, func(context.Context, struct{}) (*sdk.Plugin, error) {
		return sdk.New(sdk.HandleRaw("s", noop)), nil
	})
	s := h.open()
	_, err := s.rpc.Recv()
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
}

func TestManyStepsOverSeveralStreams(t *testing.T) {
	t.Parallel()

	const streams, perStream = 4, 3000
	h := startHost(t, sdk.Handle("sum", add))
	done := make(chan struct{}, streams)
	for i := range uint64(streams) {
		s := h.open()
		go func() {
			for batch := uint64(0); batch < perStream; batch += 100 {
				var steps []*pluginv1.Step
				for j := range uint64(100) {
					id := i*perStream + batch + j
					steps = append(steps, &pluginv1.Step{Id: id, Step: "sum", Input: fmt.Appendf(nil, `{"a":%d,"b":1}`, id)})
				}
				if s.rpc.Send(&pluginv1.ExecuteRequest{Steps: steps}) != nil {
					return
				}
			}
		}()
		go func() {
			defer func() { done <- struct{}{} }()
			for id, r := range s.resultsByID(perStream) {
				require.Equal(t, fmt.Sprint(id+1), string(r.GetSuccess().GetOutput()))
			}
			s.drain()
		}()
	}
	for range streams {
		await(t, done)
	}
}

func TestBigOutputs(t *testing.T) {
	t.Parallel()

	h := startHost(t, sdk.HandleRaw("big", func(_ context.Context, in []byte) ([]byte, error) {
		var n int
		if err := json.Unmarshal(in, &n); err != nil {
			return nil, err
		}
		return fmt.Appendf(nil, "%q", strings.Repeat("x", n)), nil
	}))

	t.Run("beyond the usual limit of gRPC", func(t *testing.T) {
		t.Parallel()
		s := h.open()
		// Several that do not fit into one batch together, and one that alone
		// exceeds it.
		sizes := map[uint64]int{101: 400 << 10, 102: 400 << 10, 103: 400 << 10, 104: 9 << 20, 105: 1}
		for id, n := range sizes {
			s.send(&pluginv1.Step{Id: id, Step: "big", Input: fmt.Append(nil, n)})
		}
		for id, r := range s.resultsByID(len(sizes)) {
			require.Len(t, r.GetSuccess().GetOutput(), sizes[id]+2)
		}
		s.drain()
	})
	t.Run("beyond what can travel", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, sdk.HandleRaw("big", func(context.Context, []byte) ([]byte, error) {
			return []byte(`"` + strings.Repeat("x", 2000) + `"`), nil
		}))
		h.server.LimitResults(1000)
		f := h.callStep("big", "1").GetFailure()
		require.Equal(t, protocol.FailureBadOutput, f.GetType())
		require.Contains(t, f.GetMessage(), "2002 bytes together, more than the 1000 that can travel")
	})
}

func TestMiddleware(t *testing.T) {
	t.Parallel()

	tag := func(name string) func(sdk.Next) sdk.Next {
		return func(next sdk.Next) sdk.Next {
			return func(ctx context.Context, in []byte) ([]byte, error) {
				out, err := next(ctx, in)
				return fmt.Appendf(nil, "[%q,%s]", name+" around "+sdk.StepInfo(ctx).Step, out), err
			}
		}
	}
	broken := func(sdk.Next) sdk.Next {
		return func(context.Context, []byte) ([]byte, error) { return []byte("{"), nil }
	}

	t.Run("order", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, sdk.Use(tag("outer"), tag("inner")), sdk.Handle("sum", add))
		require.JSONEq(t, `["outer around sum",["inner around sum",3]]`,
			string(h.callStep("sum", `{"a":1,"b":2}`).GetSuccess().GetOutput()))
	})
	t.Run("its output is checked", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, sdk.Handle("sum", add), sdk.Use(broken))
		require.Equal(t, protocol.FailureBadOutput, h.callStep("sum", `{}`).GetFailure().GetType())
	})
}

func TestNewPanicsOnMistakes(t *testing.T) {
	t.Parallel()

	for message, mistake := range map[string]func(){
		"sdk: a plugin needs at least one handler: pass sdk.Handle or sdk.HandleRaw": func() { sdk.New() },
		`sdk: step "a" has two handlers`:                                             func() { sdk.New(sdk.HandleRaw("a", noop), sdk.Handle("a", add)) },
		"sdk: a handler needs the name of its step":                                  func() { sdk.New(sdk.HandleRaw("", noop)) },
		"sdk: more than one default handler: a, b": func() {
			sdk.New(sdk.HandleRaw("a", noop, sdk.Default()), sdk.HandleRaw("b", noop, sdk.Default()))
		},
		"sdk: MaxConcurrency(-1): must not be negative": func() { sdk.MaxConcurrency(-1) },
		"sdk: Timeout(0s): must be positive":            func() { sdk.Timeout(0) },
	} {
		require.PanicsWithValue(t, message, mistake)
	}
}
