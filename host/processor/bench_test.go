package processor_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/processor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
)

// instant answers every step at once, in the batches that it gets.
type instant struct{ state processor.ExecutorState }

func (x instant) State() processor.ExecutorState { return x.state }

func (instant) Abandon([]uint64, error) {}

func (instant) Apart(s processor.Suspects, _ bool) { s.Refused(errors.New("no probation")) }

func (instant) Cancel([]uint64, pluginv1.CancelReason) {}

func (instant) Dispatch(steps []*pluginv1.Step, sink processor.Sink) {
	results := make([]*pluginv1.Result, len(steps))
	for i, s := range steps {
		results[i] = succeeded(`null`)
		results[i].Id = s.GetId()
	}
	sink.Results(results)
}

// BenchmarkLane is the host's own cost of a step, with the database, without a
// plugin process.
func BenchmarkLane(b *testing.B) {
	exec := newScripted(succeed)
	bundle := setup(b, exec, func(o *processor.Options) {
		o.Namespaces[0].Concurrency, o.MaxConcurrent, o.BatchSize, o.SettlementBuffer = 2000, 2000, 500, 4096
		o.Namespaces[0].ResultQueue = ""
		o.Registry = fixed{instant{processor.ExecutorState{Ready: true, Default: "work", Steps: map[string]struct{}{"work": {}}}}}
		o.OnStep = nil
	})
	bundle.exec1(`INSERT INTO pgmq.q_ns_queue (vt, message) SELECT clock_timestamp(), jsonb_build_object('n', n, 'pad', repeat('x', 180)) FROM generate_series(1, $1::int) n`, b.N)
	bundle.exec1(`ANALYZE pgmq.q_ns_queue`)
	b.ReportAllocs()
	b.ResetTimer()
	require.NoError(b, bundle.ExecuteStep(b.Context(), queues.Event{Queue: "ns_queue", Source: queues.SourcePoll, ReceivedAt: time.Now()}))
	for {
		status, err := processor.Do(b.Context(), bundle.Processor, processor.GetStatus{})
		require.NoError(b, err)
		if status.Namespaces[0].Counts[processor.OutcomeSucceeded] == uint64(b.N) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
}
