package sdk_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
)

// BenchmarkStream measures no-op steps through one stream over an in-memory
// connection, host's half included: 2,000 in flight, sent in batches of 100.
func BenchmarkStream(b *testing.B) {
	input := []byte(`{"step":"noop","sent_us":1700000000000000}`)
	for name, handler := range map[string]sdk.Option{
		"raw":   sdk.HandleRaw("noop", noop),
		"typed": sdk.Handle("noop", add),
	} {
		b.Run(name, func(b *testing.B) { benchmarkStream(b, handler, input) })
	}
}

func benchmarkStream(b *testing.B, handler sdk.Option, input []byte) {
	const inFlight, batch = 2000, 100
	client := startHost(b, handler).client
	rpc, err := client.Execute(b.Context())
	require.NoError(b, err)

	// A token stands for one place in flight.
	tokens := make(chan int, inFlight)
	tokens <- inFlight
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		var free, sent int
		for sent < b.N {
			for free < min(batch, b.N-sent) {
				free += <-tokens
			}
			n := min(batch, b.N-sent)
			req := &pluginv1.ExecuteRequest{Steps: make([]*pluginv1.Step, n)}
			for i := range req.Steps {
				req.Steps[i] = &pluginv1.Step{
					Id: uint64(sent + i + 1), Namespace: "bench", Step: "noop", Input: input, Queue: "bench_queue",
					MessageId: int64(sent + i + 1), Attempt: 1, TimeoutMs: 20_000, EnqueuedAtUs: 1_700_000_000_000_000,
					IdempotencyKey: "bench_queue/1/1700000000000000",
				}
			}
			if rpc.Send(req) != nil {
				return
			}
			sent, free = sent+n, free-n
		}
	}()
	messages := 0
	for received := 0; received < b.N; {
		resp, err := rpc.Recv()
		require.NoError(b, err)
		received += len(resp.GetResults())
		messages++
		tokens <- len(resp.GetResults())
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
	b.ReportMetric(float64(b.N)/float64(messages), "results/message")
	require.NoError(b, rpc.CloseSend())
	_, err = rpc.Recv()
	require.ErrorIs(b, err, io.EOF)
}
