package supervisor_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// countingSink frees a slot for each result.
type countingSink struct {
	sink
	slots chan struct{}
	done  sync.WaitGroup
}

func (s *countingSink) Results(results []*pluginv1.Result) {
	for range results {
		<-s.slots
	}
	s.done.Add(-len(results))
}

// BenchmarkSteps sends small steps through one process, 2,000 in flight.
func BenchmarkSteps(b *testing.B) {
	p := startReady(b, spec(b, ""))
	s := &countingSink{slots: make(chan struct{}, 2000)}
	body := []byte(`{"order_id":"o-123456","amount":4200}`)
	b.ReportAllocs()
	b.ResetTimer()
	var batch []*pluginv1.Step
	for sent := 0; sent < b.N; {
		batch = batch[:0]
		s.slots <- struct{}{}
		batch = append(batch, &pluginv1.Step{Id: lastID.Add(1), Step: "echo", Namespace: "orders", Queue: "orders_queue", Input: body})
		for len(batch) < 200 && sent+len(batch) < b.N && len(s.slots) < cap(s.slots) {
			s.slots <- struct{}{}
			batch = append(batch, &pluginv1.Step{Id: lastID.Add(1), Step: "echo", Namespace: "orders", Queue: "orders_queue", Input: body})
		}
		s.done.Add(len(batch))
		p.Dispatch(batch, s)
		sent += len(batch)
	}
	s.done.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
	require.Zero(b, p.Status().Instances[0].InFlight)
}
