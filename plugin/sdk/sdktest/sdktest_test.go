package sdktest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/sdktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		sdk.MainWith(setup)
	}
	goleak.VerifyTestMain(m)
}

// failing is a test of which one expects that it fails.
type failing struct {
	testing.TB
	mu       sync.Mutex
	lines    []string
	cleanups []func()
}

func (f *failing) Helper() {}

func (f *failing) Cleanup(fn func()) { f.cleanups = append(f.cleanups, fn) }

func (f *failing) Logf(string, ...any) {}

func (f *failing) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, fmt.Sprintf(format, args...))
}

func (f *failing) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// failures runs a test and returns why it failed.
func failures(t *testing.T, body func(t sdktest.TB)) string {
	f := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(f.cleanups) - 1; i >= 0; i-- {
				f.cleanups[i]()
			}
		}()
		body(f)
	}()
	<-done
	return strings.Join(f.lines, "\n")
}

type message struct {
	ID string `json:"id"`
}

func answering(result any, err error) *sdk.Plugin {
	return sdk.New(sdk.Handle("s", func(context.Context, struct{}) (any, error) { return result, err }))
}

// waiting is a plugin whose handler waits for the end of its context.
func waiting(opts ...sdk.Option) *sdk.Plugin {
	return sdk.New(append(opts, sdk.Handle("s", func(ctx context.Context, _ struct{}) (any, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}))...)
}

func TestVerdicts(t *testing.T) {
	t.Parallel()

	bad := errors.New("bad")
	for name, tc := range map[string]struct {
		err     error
		verdict sdktest.Verdict
		delay   time.Duration
		shown   string
	}{
		"completed":   {nil, sdktest.Completed, 0, `completed: "done"`},
		"retry":       {bad, sdktest.Retry, 0, "retry: bad (error)"},
		"permanent":   {sdk.Permanent(bad), sdktest.Permanent, 0, "permanent: bad (error)"},
		"retry after": {sdk.RetryAfter(bad, time.Minute), sdktest.RetryAfter, time.Minute, "retry after 1m0s: bad (error)"},
		"snooze":      {sdk.Snooze(time.Second), sdktest.Snooze, time.Second, "snooze for 1s"},
		"own type":    {&json.SyntaxError{Offset: 3}, sdktest.Retry, 0, "retry:  (*json.SyntaxError)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := sdktest.Start(t, answering("done", tc.err))
			r := h.Run("s", message{}).Require(tc.verdict)
			require.Equal(t, tc.delay, r.Delay)
			require.Equal(t, tc.shown, r.String())
			_, err := sdktest.Call[string](h, "s", message{})
			for _, verdict := range []error{&sdk.PermanentError{}, &sdk.RetryAfterError{}, &sdk.SnoozeError{}} {
				require.Equal(t, errors.Is(tc.err, verdict), errors.Is(err, verdict), "%T", verdict)
			}
			if tc.err == nil {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, tc.err.Error())
			}
		})
	}
}

func TestPanicHasItsStack(t *testing.T) {
	t.Parallel()
	h := sdktest.Start(t, sdk.New(sdk.Handle("s", func(context.Context, struct{}) (any, error) { panic("ouch") })))
	r := h.Run("s", "{}").Require(sdktest.Retry)
	require.Equal(t, "panic", r.Failure.Type)
	require.Equal(t, "panic: ouch", r.Failure.Message)
	require.Contains(t, r.Failure.Stack, "TestPanicHasItsStack")
	require.Contains(t, r.String(), "TestPanicHasItsStack")
}

func TestStepIsDeliveredAsAHostDoes(t *testing.T) {
	t.Parallel()

	infos := make(chan sdk.Info, 1)
	say := func(ctx context.Context, in []byte) ([]byte, error) {
		infos <- sdk.StepInfo(ctx)
		return in, nil
	}
	h := sdktest.Start(t, sdk.New(sdk.HandleRaw("a", say, sdk.Default()), sdk.HandleRaw("b", say)))

	before := time.Now().Truncate(time.Microsecond)
	r := h.Run("", `{"step": "b", "task_uuid": "t", "step_uuid": "s", "correlation_id": "c", "n": [1]}`)
	info := <-infos
	require.JSONEq(t, `{"step": "b", "task_uuid": "t", "step_uuid": "s", "correlation_id": "c", "n": [1]}`, string(r.Output))
	require.Equal(t, "b", r.Step)
	require.WithinRange(t, info.EnqueuedAt, before, time.Now())
	require.WithinRange(t, info.Deadline, before.Add(20*time.Second), time.Now().Add(20*time.Second))
	key := fmt.Sprintf("test_queue/1/%d", info.EnqueuedAt.UnixMicro())
	info.EnqueuedAt, info.Deadline = time.Time{}, time.Time{}
	require.Equal(t, sdk.Info{
		Namespace: "test", Step: "b", Queue: "test_queue", MessageID: 1, Attempt: 1, IdempotencyKey: key,
		TaskUUID: "t", StepUUID: "s", CorrelationID: "c",
	}, info)

	given := sdk.Info{
		Namespace: "payments", Queue: "q", MessageID: 7, EnqueuedAt: time.UnixMicro(1_700_000_000_000_000),
		IdempotencyKey: "k", TaskUUID: "T", StepUUID: "S", CorrelationID: "C",
	}
	h.Run("", json.RawMessage(`{"task_uuid": 3}`), sdktest.Attempt(2), sdktest.Info(given), sdktest.Timeout(0))
	given.Step, given.Attempt = "a", 2
	require.Equal(t, given, <-infos)
}

func TestEmitted(t *testing.T) {
	t.Parallel()

	h := sdktest.Start(t, sdk.New(sdk.Handle("s", func(ctx context.Context, in message) (any, error) {
		return nil, errors.Join(
			sdk.Emit(ctx, sdk.ToNamespace("shipping"), message{ID: in.ID + "-a"}),
			sdk.Emit(ctx, sdk.ToQueue("shipping"), message{ID: in.ID + "-b"}, sdk.Delay(time.Hour), sdk.Headers(map[string]any{"k": "v"})),
			sdk.Emit(ctx, sdk.ToNamespace("shipping"), message{ID: in.ID + "-c"}))
	})))
	r := h.Run("s", message{ID: "17"})
	require.Equal(t, []message{{"17-a"}, {"17-c"}}, sdktest.Emitted[message](r, sdk.ToNamespace("shipping")))
	require.Equal(t, []message{{"17-b"}}, sdktest.Emitted[message](r, sdk.ToQueue("shipping")))
	require.Equal(t, sdktest.Message{
		Target: sdk.ToQueue("shipping"), Body: json.RawMessage(`{"id":"17-b"}`),
		Headers: map[string]any{"k": "v"}, Delay: time.Hour,
	}, r.Emitted[1])
	require.Contains(t, r.String(), `emitted to queue shipping: {"id":"17-b"} with headers {"k":"v"} in 1h0m0s`)
}

func TestHeartbeats(t *testing.T) {
	t.Parallel()

	next := make(chan struct{})
	h := sdktest.Start(t, sdk.New(sdk.Handle("s", func(ctx context.Context, _ struct{}) (any, error) {
		for i := range 3 {
			if err := sdk.Heartbeat(ctx, sdk.Progress{Fraction: float64(i) / 2, Message: fmt.Sprint(i)}); err != nil {
				return nil, err
			}
			<-next
		}
		return nil, sdk.Heartbeat(ctx, sdk.Progress{Fraction: 1, Message: "last"})
	})))
	s := h.Go("s", message{})
	for i := range 3 {
		require.Equal(t, sdk.Progress{Fraction: float64(i) / 2, Message: fmt.Sprint(i)}, s.Heartbeat())
		next <- struct{}{}
	}
	// What is reported just before the end arrives, always.
	require.Equal(t, "last", s.Heartbeat().Message)
	require.Len(t, s.Wait().Heartbeats, 4)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	h := sdktest.Start(t, waiting())
	for cause, want := range map[error]struct {
		kind    string
		verdict sdktest.Verdict
	}{
		sdk.ErrTimeout:   {"timeout", sdktest.Retry},
		sdk.ErrCancelled: {"cancelled", sdktest.Retry},
		sdk.ErrLeaseLost: {"cancelled", sdktest.GivenBack},
		sdk.ErrDraining:  {"cancelled", sdktest.GivenBack},
	} {
		s := h.Go("s", message{})
		s.Cancel(fmt.Errorf("for a reason: %w", cause))
		r := s.Wait().Require(want.verdict)
		require.Equal(t, sdktest.Failure{Type: want.kind, Message: cause.Error()}, *r.Failure)
		s.Cancel(cause)
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	h := sdktest.Start(t, waiting(sdk.MaxConcurrency(1)))
	running, queued := h.Go("s", message{}), h.Go("s", message{})
	h.Drain()
	r := queued.Wait().Require(sdktest.NotAccepted)
	require.ErrorIs(t, r.Err(), sdktest.ErrNotAccepted)
	require.Equal(t, "not accepted: plugin is draining", r.String())
	running.Cancel(sdk.ErrDraining)
	require.Equal(t, sdk.ErrDraining.Error(), running.Wait().Failure.Message)
}

// A cancellation after Drain travels on another stream than its step.
func TestCancelWhileDraining(t *testing.T) {
	t.Parallel()
	for range 20 {
		h := sdktest.Start(t, waiting())
		s := h.Go("s", message{}, sdktest.Timeout(0))
		h.Drain()
		s.Cancel(sdk.ErrLeaseLost)
		require.Equal(t, sdk.ErrLeaseLost.Error(), s.Wait().Failure.Message)
		require.NoError(t, h.Stop())
	}
}

func TestStop(t *testing.T) {
	t.Parallel()

	var lifetime context.Context
	setup := func(ctx context.Context, _ struct{}) (*sdk.Plugin, error) {
		lifetime = ctx
		return waiting(sdk.OnClose(func() error { return errors.New("disk full") })), nil
	}
	h := sdktest.StartWith(t, setup)
	s := h.Go("s", message{}, sdktest.Timeout(0))
	require.NoError(t, lifetime.Err())
	require.ErrorContains(t, h.Stop(), "disk full")
	require.Error(t, lifetime.Err())
	require.Equal(t, sdk.ErrDraining.Error(), s.Wait().Failure.Message)
	require.NoError(t, h.Stop())

	require.Contains(t, failures(t, func(t sdktest.TB) { sdktest.StartWith(t, setup) }), "stop the plugin: disk full")
}

// A test that ends while steps run leaves nothing behind; goleak looks.
func TestEndOfTheTestStopsSteps(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	require.Empty(t, failures(t, func(t sdktest.TB) {
		sdktest.Start(t, sdk.New(sdk.Handle("s", func(ctx context.Context, _ struct{}) (any, error) {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, nil
		}))).Go("s", message{})
	}))
	require.ErrorIs(t, <-ended, sdk.ErrDraining)
}

func TestLogsGoToTheTest(t *testing.T) {
	t.Parallel()
	logs := &logged{TB: t}
	h := sdktest.Start(logs, sdk.New(sdk.Handle("s", func(ctx context.Context, _ struct{}) (any, error) {
		sdk.Logger(ctx).Trace("fine", "n", 1)
		return nil, nil
	})))
	h.Run("s", message{})
	require.Equal(t, []string{"[TRACE] fine: attempt=1 message_id=1 namespace=test step=s n=1"}, logs.lines)
}

type logged struct {
	testing.TB
	lines []string
}

func (l *logged) Logf(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func TestWhatFailsATest(t *testing.T) {
	t.Parallel()

	for want, body := range map[string]func(t sdktest.TB){
		`the plugin has no step "x": it has s`: func(t sdktest.TB) { sdktest.Start(t, answering(1, nil)).Run("x", message{}) },
		"the message names no step and the plugin has no default: it has a, b": func(t sdktest.TB) {
			noop := func(context.Context, []byte) ([]byte, error) { return nil, nil }
			sdktest.Start(t, sdk.New(sdk.HandleRaw("b", noop), sdk.HandleRaw("a", noop))).Run("", message{})
		},
		"not a JSON object: a host dead-letters it": func(t sdktest.TB) { sdktest.Start(t, answering(1, nil)).Run("s", "[1]") },
		"the message is not JSON: {":                func(t sdktest.TB) { sdktest.Start(t, answering(1, nil)).Run("s", []byte("{")) },
		"encode the message: json: unsupported":     func(t sdktest.TB) { sdktest.Start(t, answering(1, nil)).Run("s", make(chan int)) },
		"step \"s\": want the verdict \"snooze\", got\ncompleted: 1": func(t sdktest.TB) {
			sdktest.Start(t, answering(1, nil)).Run("s", message{}).Require(sdktest.Snooze)
		},
		`decode its result 1: json`: func(t sdktest.TB) {
			var text string
			sdktest.Start(t, answering(1, nil)).Run("s", message{}).Decode(&text)
		},
		`step "s" ended without another heartbeat: completed: 1`: func(t sdktest.TB) {
			sdktest.Start(t, answering(1, nil)).Go("s", message{}).Heartbeat()
		},
		"no host gives this reason: EOF": func(t sdktest.TB) {
			sdktest.Start(t, waiting()).Go("s", message{}).Cancel(errors.New("EOF"))
		},
		"the host drains: it sends no more steps": func(t sdktest.TB) {
			h := sdktest.Start(t, answering(1, nil))
			h.Drain()
			h.Run("s", message{})
		},
		"the plugin does not start:\nError: Plugin takes no configuration\n  on config.hcl:1,1": func(t sdktest.TB) {
			sdktest.Start(t, answering(1, nil), sdktest.Config("a = 1"))
		},
		"setup returned no plugin": func(t sdktest.TB) {
			sdktest.StartWith(t, func(context.Context, struct{}) (*sdk.Plugin, error) { return nil, nil })
		},
		"the plugin starts with this configuration": func(t sdktest.TB) {
			sdktest.ConfigError(t, func(context.Context, struct{}) (*sdk.Plugin, error) { return answering(1, nil), nil })
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, failures(t, body), want)
		})
	}
}
