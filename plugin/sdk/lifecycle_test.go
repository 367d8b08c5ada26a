package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/sdktest"
)

// brokenError has methods that panic on a nil pointer.
type brokenError struct{ text string }

func (e *brokenError) Error() string { return e.text }

// count panics on a nil map.
func count(m map[string]int) error { m["a"]++; return nil }

func TestPanicsLeaveTheStreamAlone(t *testing.T) {
	t.Parallel()

	handlers := map[string]func(context.Context, []byte) ([]byte, error){
		"nil map":         func(context.Context, []byte) ([]byte, error) { return nil, count(nil) },
		"nil error value": func(context.Context, []byte) ([]byte, error) { var e *brokenError; return nil, e },
		"empty verdict":   func(context.Context, []byte) ([]byte, error) { return nil, &sdk.PermanentError{} },
		"typed nil inside": func(context.Context, []byte) ([]byte, error) {
			var e *brokenError
			return nil, sdk.RetryAfter(e, 1)
		},
		"panic with a broken error": func(context.Context, []byte) ([]byte, error) { var e *brokenError; panic(e) },
	}
	options := []sdk.Option{sdk.HandleRaw("fine", noop)}
	for name, handler := range handlers {
		options = append(options, sdk.HandleRaw(name, handler))
	}
	s := startHost(t, options...).open()
	var id uint64
	for name := range handlers {
		id++
		s.send(&pluginv1.Step{Id: id, Step: name})
		f := s.result().GetFailure()
		require.Equal(t, protocol.FailurePanic, f.GetType(), name)
		require.Contains(t, f.GetStack(), "goroutine", name)
	}
	s.send(&pluginv1.Step{Id: id + 1, Step: "fine"})
	require.NotNil(t, s.result().GetSuccess())
	s.drain()
}

func TestDrain(t *testing.T) {
	t.Parallel()

	handler, running := untilEnd()
	h := startHost(t, sdk.HandleRaw("s", handler), sdk.MaxConcurrency(1))
	draining, other := h.open(), h.open()
	draining.send(step(1))
	await(t, running)
	draining.send(step(2), step(3))
	require.NoError(t, draining.rpc.CloseSend())
	for id, r := range draining.resultsByID(2) {
		require.Contains(t, []uint64{2, 3}, id)
		require.Equal(t, "plugin is draining", r.GetNotAccepted().GetReason())
	}
	// The running step has its time, and other streams go on meanwhile.
	other.send(step(4))
	other.sendCancel(1, pluginv1.CancelReason_CANCEL_REASON_DRAINING)
	require.EqualValues(t, 1, draining.result().GetId())
	draining.end()
	require.EqualValues(t, 4, await(t, running))
	other.sendCancel(4, pluginv1.CancelReason_CANCEL_REASON_DRAINING)
	require.EqualValues(t, 4, other.result().GetId())
	other.drain()
}

func TestMaxConcurrency(t *testing.T) {
	t.Parallel()

	handler, running := untilEnd()
	h := startHost(t, sdk.HandleRaw("s", handler), sdk.MaxConcurrency(2))
	s := h.open()
	s.send(step(1), step(2), step(3), step(4))
	require.ElementsMatch(t, []uint64{1, 2}, []uint64{await(t, running), await(t, running)})

	// A step that waits is withdrawn, also from another stream.
	other := h.open()
	other.sendCancel(3, pluginv1.CancelReason_CANCEL_REASON_REQUESTED)
	withdrawn := s.result()
	require.EqualValues(t, 3, withdrawn.GetId())
	require.NotNil(t, withdrawn.GetNotAccepted())
	require.Empty(t, running, "more run than the plugin allows")

	// The next one starts in the place of one that ends.
	s.sendCancel(1, pluginv1.CancelReason_CANCEL_REASON_REQUESTED)
	require.EqualValues(t, 1, s.result().GetId())
	require.EqualValues(t, 4, await(t, running))

	// A host that goes on and on is told so.
	waiting := uint64(protocol.MaxBatchSteps)
	steps := make([]*pluginv1.Step, 0, waiting+1)
	for id := range waiting + 1 {
		steps = append(steps, step(100+id))
	}
	s.send(steps...)
	over := s.result()
	require.EqualValues(t, 100+waiting, over.GetId())
	require.Contains(t, over.GetNotAccepted().GetReason(), "max_concurrency")

	require.NoError(t, s.rpc.CloseSend())
	s.resultsByID(int(waiting))
	other.sendCancel(2, pluginv1.CancelReason_CANCEL_REASON_REQUESTED)
	other.sendCancel(4, pluginv1.CancelReason_CANCEL_REASON_REQUESTED)
	s.resultsByID(2)
	s.end()
	other.drain()
}

func TestBrokenStreamCancelsItsSteps(t *testing.T) {
	t.Parallel()

	causes := make(chan error, 2)
	running := make(chan struct{}, 2)
	h := startHost(t, sdk.HandleRaw("s", func(ctx context.Context, _ []byte) ([]byte, error) {
		running <- struct{}{}
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil, nil
	}), sdk.MaxConcurrency(2))
	broken, other := h.open(), h.open()
	broken.send(step(1))
	other.send(step(2))
	await(t, running)
	await(t, running)
	broken.cancel()
	require.ErrorIs(t, await(t, causes), sdk.ErrLeaseLost)
	require.Empty(t, causes, "a step of another stream was cancelled")
	other.sendCancel(2, pluginv1.CancelReason_CANCEL_REASON_REQUESTED)
	require.ErrorIs(t, await(t, causes), sdk.ErrCancelled)
	other.result()
	other.drain()
}

func TestStepInFlightTwiceBreaksTheStream(t *testing.T) {
	t.Parallel()

	handler, running := untilEnd()
	h := startHost(t, sdk.HandleRaw("s", handler))
	first, second := h.open(), h.open()
	first.send(step(1))
	await(t, running)
	second.send(step(1))
	_, err := second.rpc.Recv()
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.ErrorContains(t, err, "step id 1 is in flight already")
	first.sendCancel(1, pluginv1.CancelReason_CANCEL_REASON_REQUESTED)
	require.EqualValues(t, 1, first.result().GetId())
	first.drain()
}

func TestResultsTravelInBoundedBatches(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		steps  int
		output string
	}{
		"by count": {steps: 4000, output: `"` + strings.Repeat("x", 200) + `"`},
		"by bytes": {steps: 40, output: `"` + strings.Repeat("x", 200<<10) + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Nobody reads until all have finished, so results pile up.
			finished := make(chan struct{}, tc.steps)
			s := startHost(t, sdk.HandleRaw("s", func(context.Context, []byte) ([]byte, error) {
				defer func() { finished <- struct{}{} }()
				return []byte(tc.output), nil
			})).open()
			var steps []*pluginv1.Step
			for id := range uint64(tc.steps) {
				steps = append(steps, step(id))
			}
			s.send(steps...)
			for range tc.steps {
				await(t, finished)
			}
			messages := 0
			for received := 0; received < tc.steps; messages++ {
				resp, err := s.rpc.Recv()
				require.NoError(t, err)
				results := resp.GetResults()
				received += len(results)
				require.LessOrEqual(t, len(results), protocol.MaxBatchSteps)
				bytes := 0
				for _, r := range results {
					bytes += len(r.GetSuccess().GetOutput())
				}
				require.LessOrEqual(t, bytes, protocol.MaxBatchBytes)
			}
			require.Less(t, messages, tc.steps, "nothing was batched")
			s.drain()
		})
	}
}

func TestEmit(t *testing.T) {
	t.Parallel()

	emit := func(ctx context.Context) error {
		return errors.Join(
			sdk.Emit(ctx, sdk.ToNamespace("payments"), map[string]int{"cents": 7}),
			sdk.Emit(ctx, sdk.ToQueue("audit"), json.RawMessage(`{"a":1}`),
				sdk.Delay(1500*1000), sdk.Headers(map[string]any{"trace": "t1"})),
		)
	}
	ended := map[string]error{
		"success": nil, "failure": errors.New("no"), "snooze": sdk.Snooze(1), "permanent": sdk.Permanent(errors.New("no")),
	}
	var options []sdk.Option
	for name, err := range ended {
		options = append(options, sdk.HandleRaw(name, func(ctx context.Context, _ []byte) ([]byte, error) {
			return nil, errors.Join(emit(ctx), err)
		}))
	}
	options = append(options,
		sdk.HandleRaw("panic", func(ctx context.Context, _ []byte) ([]byte, error) { panic(emit(ctx)) }),
		sdk.HandleRaw("bad output", func(ctx context.Context, _ []byte) ([]byte, error) { return []byte("{"), emit(ctx) }))
	h := startHost(t, options...)

	emits := h.callStep("success", "{}").GetSuccess().GetEmits()
	require.Len(t, emits, 2)
	require.Equal(t, "payments", emits[0].GetNamespace())
	require.JSONEq(t, `{"cents":7}`, string(emits[0].GetBody()))
	require.Empty(t, emits[0].GetHeaders())
	require.Zero(t, emits[0].GetDelayMs())
	require.Equal(t, "audit", emits[1].GetQueue())
	require.JSONEq(t, `{"a":1}`, string(emits[1].GetBody()))
	require.JSONEq(t, `{"trace":"t1"}`, string(emits[1].GetHeaders()))
	require.EqualValues(t, 2, emits[1].GetDelayMs(), "a delay is rounded up")

	for _, name := range []string{"failure", "snooze", "permanent", "panic", "bad output"} {
		r := h.callStep(name, "{}")
		require.Nil(t, r.GetSuccess(), name)
		require.NotNil(t, r.GetOutcome(), name)
	}
}

func TestEmitRefuses(t *testing.T) {
	t.Parallel()

	for want, emit := range map[string]func(context.Context) error{
		"emit: target has no name": func(ctx context.Context) error { return sdk.Emit(ctx, sdk.Target{}, 1) },
		"emit: encode body: json":  func(ctx context.Context) error { return sdk.Emit(ctx, sdk.ToQueue("q"), func() {}) },
		"emit: encode headers: json": func(ctx context.Context) error {
			return sdk.Emit(ctx, sdk.ToQueue("q"), 1, sdk.Headers(map[string]any{"a": make(chan int)}))
		},
		"emit: messages of one step exceed 1000 bytes": func(ctx context.Context) error {
			return errors.Join(sdk.Emit(ctx, sdk.ToQueue("q"), strings.Repeat("x", 500)),
				sdk.Emit(ctx, sdk.ToQueue("q"), strings.Repeat("x", 500)))
		},
	} {
		h := startHost(t, sdk.HandleRaw("s", func(ctx context.Context, _ []byte) ([]byte, error) { return nil, emit(ctx) }))
		h.server.LimitResults(1000)
		require.Contains(t, h.callStep("s", "{}").GetFailure().GetMessage(), want)
	}
}

func TestStepInfo(t *testing.T) {
	t.Parallel()

	infos := make(chan sdk.Info, 1)
	h := startHost(t, sdk.HandleRaw("s", func(ctx context.Context, _ []byte) ([]byte, error) {
		infos <- sdk.StepInfo(ctx)
		return nil, nil
	}))
	h.call(&pluginv1.Step{
		Id: 9, Namespace: "ns", Step: "s", Queue: "ns_queue", MessageId: 41, Attempt: 3, EnqueuedAtUs: 1_700_000_000_000_001,
		IdempotencyKey: "key", TaskUuid: "task", StepUuid: "step", CorrelationId: "corr",
	})
	info := await(t, infos)
	require.EqualValues(t, 1_700_000_000_000_001, info.EnqueuedAt.UnixMicro())
	info.EnqueuedAt = sdk.Info{}.EnqueuedAt
	require.Equal(t, sdk.Info{
		Namespace: "ns", Step: "s", Queue: "ns_queue", MessageID: 41, Attempt: 3,
		IdempotencyKey: "key", TaskUUID: "task", StepUUID: "step", CorrelationID: "corr",
	}, info)
	h.callStep("s", "{}")
	require.Zero(t, await(t, infos).EnqueuedAt)
}

func TestLogLines(t *testing.T) {
	t.Parallel()

	h := startHost(t, sdk.HandleRaw("s", func(ctx context.Context, _ []byte) ([]byte, error) {
		sdk.Logger(ctx).Trace("below the host's level")
		sdk.Logger(ctx).Warn("by hclog", "order", 7)
		sdk.Slog(ctx).With("a", 1).WithGroup("g").Error("by slog", "b", 2, slog.Group("h", "c", sdk.NewSecret("x")))
		sdk.Slog(ctx).DebugContext(ctx, "also debug")
		return nil, nil
	}))
	h.call(&pluginv1.Step{Id: 1, Namespace: "ns", Step: "s", MessageId: 4, Attempt: 2})
	_, err := h.client.SetLogLevel(h.ctx(), &pluginv1.SetLogLevelRequest{LogLevel: "error"})
	require.NoError(t, err)
	h.call(&pluginv1.Step{Id: 2, Namespace: "ns", Step: "s", MessageId: 4, Attempt: 2})
	var got []map[string]any
	for line := range strings.Lines(h.logs.String()) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		require.NotEmpty(t, fields["@timestamp"])
		delete(fields, "@timestamp")
		got = append(got, fields)
	}
	about := func(level, message string, more map[string]any) map[string]any {
		m := map[string]any{"@level": level, "@message": message, "namespace": "ns", "step": "s", "message_id": 4.0, "attempt": 2.0}
		for k, v := range more {
			m[k] = v
		}
		return m
	}
	require.Equal(t, []map[string]any{
		about("warn", "by hclog", map[string]any{"order": 7.0}),
		about("error", "by slog", map[string]any{"a": 1.0, "g.b": 2.0, "g.h.c": "(redacted)"}),
		about("debug", "also debug", nil),
		about("error", "by slog", map[string]any{"a": 1.0, "g.b": 2.0, "g.h.c": "(redacted)"}),
	}, got)
}

func TestClosersRunInReverseWhateverTheyDo(t *testing.T) {
	t.Parallel()

	var order []string
	var lifetime context.Context
	h := sdktest.StartWith(t, func(ctx context.Context, _ struct{}) (*sdk.Plugin, error) {
		lifetime = ctx
		return sdk.New(sdk.HandleRaw("s", noop),
			sdk.OnClose(func() error { order = append(order, fmt.Sprint("first ", ctx.Err())); return errors.New("disk full") }),
			sdk.OnClose(func() error { panic("half closed") }),
			sdk.OnClose(func() error { order = append(order, "last"); return nil })), nil
	})
	require.NoError(t, lifetime.Err(), "the setup function's context ended with it")
	err := h.Stop()
	require.ErrorContains(t, err, "disk full")
	require.ErrorContains(t, err, "panic: half closed")
	require.Equal(t, []string{"last", "first context canceled"}, order)
}
